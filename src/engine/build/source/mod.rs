//! Where files of a build come from, beyond its context: git repositories and downloads.

mod git;
mod git_url;

pub(super) use git::{Checkout, Git};
pub(super) use git_url::{GitUrl, without_password};
