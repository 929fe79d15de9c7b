//! Calls that are no inferences while their messages are waited for: how long, how many, and not
//! when the server stops. Inferences are in flight from the arrival of their heads, which bounds
//! them, and a stop waits for them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use oip_core::BoxFuture;
use oip_protocol::{Error, Limit};

use super::Door;

/// Longest that the whole message, or body, of such a call may take to arrive: it is small.
pub(crate) const LONGEST: Duration = Duration::from_secs(5);

/// How long one is still waited for when the server stops.
const AT_STOP: Duration = Duration::from_millis(500);

/// Ends with the refusal of a call that is not waited for any longer. Until it is dropped the call
/// counts as one that waits.
pub(crate) type Awaited = BoxFuture<'static, Error>;

/// A call whose message is not there yet.
pub(crate) fn awaited(door: &Door) -> Awaited {
    let call = door.telemetry.connections.begin_call();
    let dataplane = Arc::clone(&door.dataplane);
    let ends = async move {
        let stopped = async {
            dataplane.closing().await;
            tokio::time::sleep(AT_STOP).await;
        };
        tokio::select! {
            () = call.displaced() => {
                let message = "too many calls wait for their messages, this one longest";
                let error = Error::too_many_requests(message).retry_after(1);
                error.at_limit(Limit::CallsWaiting)
            }
            () = stopped => Error::unavailable("the server is shutting down"),
        }
    };
    // It may be asked again after its end.
    Box::pin(ends.fuse())
}
