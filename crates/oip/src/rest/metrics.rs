//! `/metrics`: what is counted, as Prometheus reads it.
//!
//! Source: Prometheus' text exposition format, version 0.0.4. Names and units are in
//! `docs/metrics.md`, which a test holds to what is written here.

mod model;
mod process;
mod server;
mod text;

use http::HeaderValue;
use oip_core::access::actions;
use oip_core::dataplane::Figures;
use oip_protocol::Result;

use super::Arrived;
use super::respond::Reply;
use crate::door::Door;
use text::Text;

const CONTENT_TYPE: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// The metrics of the server, and of every model that is ready or was asked.
pub(super) async fn metrics(arrived: &mut Arrived) -> Result<Reply> {
    let permit = arrived.permit::<actions::Metrics>().await?;
    let door = &arrived.rest.door;
    let figures = door.dataplane.metrics(permit).await?;
    let ready = door.dataplane.ready().await;
    let text = write(door, &figures, ready);
    Ok(Reply::of(CONTENT_TYPE, text))
}

fn write(door: &Door, figures: &Figures, ready: bool) -> String {
    let mut text = Text::default();
    server::write(&mut text, door, ready);
    server::write_decisions(&mut text, figures);
    model::write(&mut text, door.dataplane.telemetry(), figures);
    process::write(&mut text);
    text.into_string()
}

#[cfg(test)]
mod tests;
