//! Where files of a build come from, beyond an uploaded context: git repositories, downloads, folders of the client, and the
//! named contexts that stand for any of them.

mod bring;
mod git;
mod git_url;
mod layout;
mod named;

pub(super) use bring::client_folder;
pub(super) use git::{Checkout, Git};
pub(super) use git_url::{GitUrl, without_password};
pub(super) use named::{Brought, ContextSpecs, Files, Spec};
