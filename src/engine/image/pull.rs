//! Pulling an image from a registry (to come).

use futures_util::Stream;

use super::{Images, Progress, PullRequest, PushRequest};

impl Images {
    /// Pulls an image; a failure is the last message. Dropping the stream cancels.
    pub fn pull(&self, request: PullRequest) -> impl Stream<Item = Progress> + Send + Unpin + 'static + use<> {
        let _ = request;
        futures_util::stream::empty()
    }

    /// Pushes an image; a failure is the last message. Dropping the stream cancels.
    pub fn push(&self, request: PushRequest) -> impl Stream<Item = Progress> + Send + Unpin + 'static + use<> {
        let _ = request;
        futures_util::stream::empty()
    }
}
