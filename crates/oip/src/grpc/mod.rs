//! Seam for the gRPC door.
use std::sync::Arc;

use axum::Router;

use crate::door::{Door, Origins};

pub use oip_protocol::proto::generated as messages;

/// The gRPC routes.
pub fn routes(door: Arc<Door>, origins: Arc<Origins>) -> Router {
    let _ = (door, origins);
    Router::new()
}
