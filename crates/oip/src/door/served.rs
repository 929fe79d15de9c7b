//! A door as the accept loop sees it.

use std::convert::Infallible;
use std::sync::Arc;

use http::{Request, Response};
use oip_core::BoxFuture;

use super::{Body, Remote};

/// An answer on its way; a door always has one.
pub(crate) type Answering = BoxFuture<'static, Result<Response<Body>, Infallible>>;

/// What answers every request that comes to a door.
pub(crate) trait Serves: Send + Sync + 'static {
    /// `remote` is where the request came from.
    fn answer(&self, request: Request<Body>, remote: Arc<Remote>) -> Answering;
}

/// A door, or a door with something around it. Clones are the same door.
///
/// A service of its own and no router: requests reach a door by its port, and finding a route
/// where there is one only took an eighth of what a small request costs.
#[derive(Clone)]
pub(crate) struct Served(Arc<dyn Serves>);

impl Served {
    pub(crate) fn new(door: impl Serves) -> Self {
        Self(Arc::new(door))
    }

    pub(crate) fn answer(&self, request: Request<Body>, remote: Arc<Remote>) -> Answering {
        self.0.answer(request, remote)
    }
}

/// Tests ask it as clients of Rust ask a service.
#[cfg(test)]
impl<B> tower::Service<Request<B>> for Served
where
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response<axum::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let remote = Arc::new(Remote::of(request.extensions()));
        let answer = self.answer(request.map(Body::new), remote);
        Box::pin(async move { Ok(answer.await?.map(axum::body::Body::new)) })
    }
}
