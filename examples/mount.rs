//! The protocol's routes in an axum application of your own, beside its routes and sharing its
//! state.
//!
//! ```console
//! cargo run --example mount
//! curl -s localhost:3000/v2/models/count/infer -d '{"inputs": [
//!     {"name": "input", "datatype": "INT64", "shape": [2], "data": [1, 2]}]}'
//! curl -s localhost:3000/seen
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use axum::extract::State;
use axum::routing::get;
use oip::{Call, InferRequest, InferResponse, ModelHandler, Result, Server};

/// What the application and the handler share.
#[derive(Default)]
struct Shared {
    elements: AtomicUsize,
}

/// Answers with its inputs and counts their elements.
struct Counting(Arc<Shared>);

impl ModelHandler for Counting {
    async fn infer(&self, request: InferRequest, _call: &Call) -> Result<InferResponse> {
        let elements = request
            .inputs
            .iter()
            .map(|input| input.element_count())
            .sum();
        self.0.elements.fetch_add(elements, Relaxed);
        Ok(InferResponse::new(request.inputs))
    }
}

async fn seen(State(shared): State<Arc<Shared>>) -> String {
    format!("{} elements seen\n", shared.elements.load(Relaxed))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let shared = Arc::new(Shared::default());
    let server = Server::new(Counting(Arc::clone(&shared))).model("count");
    let (protocol, dataplane) = server.without_authentication().into_router()?;

    let own = axum::Router::new()
        .route("/seen", get(seen))
        .with_state(shared);
    let app = own.merge(protocol);

    dataplane.start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app).await?;
    Ok(())
}
