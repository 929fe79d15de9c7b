//! Probes.

use http::StatusCode;
use oip_core::access::actions;
use oip_protocol::{Error, Result};
use serde::Serialize;

use super::Arrived;
use super::respond::Reply;

#[derive(Serialize)]
struct Live {
    live: bool,
}

#[derive(Serialize)]
struct Ready {
    ready: bool,
    live: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

#[derive(Serialize)]
struct ModelReady<'a> {
    name: &'a str,
    ready: bool,
}

/// Whether the server lives.
pub(super) async fn live(arrived: &mut Arrived) -> Result<Reply> {
    if arrived.rest.door.options.probes_by_policy {
        arrived.permit::<actions::Live>().await?;
    }
    answer(
        arrived.rest.door.dataplane.live(),
        &Live {
            live: arrived.rest.door.dataplane.live(),
        },
    )
}

/// Whether the server is ready.
pub(super) async fn ready(arrived: &mut Arrived) -> Result<Reply> {
    if arrived.rest.door.options.probes_by_policy {
        arrived.permit::<actions::Ready>().await?;
    }
    let dataplane = &arrived.rest.door.dataplane;
    let ready = dataplane.ready().await;
    let body = Ready {
        ready,
        live: dataplane.live(),
        error: (!ready).then_some("the server is not ready"),
    };
    answer(ready, &body)
}

/// Whether a model is ready.
pub(super) async fn model(arrived: &mut Arrived) -> Result<Reply> {
    let permit = arrived.permit::<actions::Ready>().await?;
    let Some(model) = permit.model().cloned() else {
        return Err(Error::malformed("this needs the name of a model"));
    };
    let ready = arrived.rest.door.dataplane.model_ready(permit).await?;
    if !ready {
        return Err(Error::unavailable(format!("{model} is not ready")));
    }
    Reply::json(&ModelReady {
        name: &model.name,
        ready,
    })
}

fn answer(well: bool, body: &impl Serialize) -> Result<Reply> {
    let reply = Reply::json(body)?;
    if well {
        return Ok(reply);
    }
    let mut reply = reply.with_status(StatusCode::SERVICE_UNAVAILABLE);
    reply.add_failure_headers(None);
    Ok(reply)
}
