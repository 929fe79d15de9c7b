//! The one deadline of a request, whoever set it.

use std::time::Duration;

use oip_protocol::{Error, Parameters, Result};
use tokio::time::Instant;

/// The earliest of the door's deadline (a time-out header), the request's parameter `timeout` and
/// the server's own limit, all counted from the arrival of the request's head: so long `passed`
/// until `now`.
///
/// # Errors
/// `Malformed` for a parameter that is no time.
pub fn deadline(
    doors: Option<Instant>,
    parameters: &Parameters,
    limit: Option<Duration>,
    now: Instant,
    passed: Duration,
) -> Result<Option<Instant>> {
    let asked = timeout(parameters)?;
    let after =
        |wait: Option<Duration>| wait.and_then(|wait| now.checked_add(wait.saturating_sub(passed)));
    Ok([doors, after(asked), after(limit)]
        .into_iter()
        .flatten()
        .min())
}

/// The parameter `timeout`, in microseconds; 0 is none.
///
/// Source: Triton's `extension_schedule_policy.md`.
fn timeout(parameters: &Parameters) -> Result<Option<Duration>> {
    match parameters.get("timeout") {
        None => Ok(None),
        Some(value) => match value.as_u64() {
            Some(0) => Ok(None),
            Some(microseconds) => Ok(Some(Duration::from_micros(microseconds))),
            None => Err(Error::malformed(format!(
                "parameter 'timeout' is {value}, but it is a whole number of microseconds"
            ))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(timeout: u64) -> Parameters {
        Parameters::from_iter([("timeout", timeout)])
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_of_three_deadlines_counts() {
        let now = Instant::now();
        let in_seconds = |seconds| Some(now + Duration::from_secs(seconds));
        let limit = Some(Duration::from_secs(3));
        let none = Parameters::new();
        let of = |doors, parameters: &Parameters, limit| {
            deadline(doors, parameters, limit, now, Duration::ZERO).unwrap()
        };
        assert_eq!(of(in_seconds(9), &none, limit), in_seconds(3));
        assert_eq!(of(in_seconds(9), &none, None), in_seconds(9));
        assert_eq!(of(in_seconds(9), &with(2_000_000), limit), in_seconds(2));
        assert_eq!(of(in_seconds(1), &with(2_000_000), None), in_seconds(1));
        assert_eq!(of(None, &with(0), None), None);
        assert_eq!(of(None, &with(u64::MAX), limit), in_seconds(3));
    }

    #[test]
    fn the_time_that_a_body_took_counts() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let of = |passed| deadline(None, &with(3_000_000), None, now, passed).unwrap();
        assert_eq!(of(second), Some(now + 2 * second));
        assert_eq!(of(5 * second), Some(now));
    }

    #[test]
    fn a_timeout_that_is_no_number_is_refused() {
        let parameters = Parameters::from_iter([("timeout", "soon".to_owned())]);
        let error = deadline(None, &parameters, None, Instant::now(), Duration::ZERO).unwrap_err();
        assert_eq!(
            error.message(),
            "parameter 'timeout' is 'soon', but it is a whole number of microseconds"
        );
    }
}
