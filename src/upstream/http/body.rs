//! The two bodies in flight: the client's on its way up, watched, and the upstream's on its way down, guarded.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream::BoxStream};
use tokio::{
    sync::Notify,
    time::{Instant, Sleep, sleep},
};

use super::explain;
use crate::upstream::BodyError;

/// What is known about a client's body on its way up.
#[derive(Debug, Default)]
pub(super) struct Upload {
    moved: Notify,
    broken: Mutex<Option<String>>,
}

impl Upload {
    /// Watches `stream`: each chunk counts as progress, an error is remembered as the client's fault.
    pub(super) fn track(
        stream: BoxStream<'static, Result<Bytes, BodyError>>,
    ) -> (Arc<Self>, impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static) {
        let upload = Arc::new(Self::default());
        let seen = Arc::clone(&upload);
        let stream = stream.inspect(move |chunk| match chunk {
            Ok(_) => seen.moved.notify_one(),
            Err(BodyError(why)) => {
                *seen.broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.clone());
            }
        });
        (upload, stream)
    }

    /// Returns at the next chunk; never, without an upload.
    pub(super) async fn moved(upload: Option<&Self>) {
        match upload {
            Some(upload) => upload.moved.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Why the client's body broke, if it did.
    pub(super) fn broken(&self) -> Option<String> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A response's body that gives up when nothing comes for too long. Time in which nobody asks does not count.
pub(super) struct IdleGuard<S> {
    inner: S,
    limit: Duration,
    timer: Pin<Box<Sleep>>,
    waiting: bool,
    over: bool,
}

impl<S> IdleGuard<S> {
    pub(super) fn new(inner: S, limit: Duration) -> Self {
        Self { inner, limit, timer: Box::pin(sleep(limit)), waiting: false, over: false }
    }
}

impl<S> Stream for IdleGuard<S>
where
    S: Stream<Item = reqwest::Result<Bytes>> + Unpin,
{
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        match self.inner.poll_next_unpin(cx) {
            Poll::Ready(Some(Ok(chunk))) => {
                self.waiting = false;
                Poll::Ready(Some(Ok(chunk)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.over = true;
                Poll::Ready(Some(Err(BodyError(explain(error)))))
            }
            Poll::Ready(None) => {
                self.over = true;
                Poll::Ready(None)
            }
            Poll::Pending => {
                if !self.waiting {
                    self.waiting = true;
                    let until = Instant::now() + self.limit;
                    self.timer.as_mut().reset(until);
                }
                std::task::ready!(self.timer.as_mut().poll(cx));
                self.over = true;
                Poll::Ready(Some(Err(BodyError("nothing came within the idle timeout".to_owned()))))
            }
        }
    }
}
