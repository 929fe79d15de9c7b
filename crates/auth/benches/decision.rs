//! Microseconds per decision: `cargo bench -p oip-auth --features cedar`.
//!
//! Each row is the mean of the fastest of several rounds, on one thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use oip_auth::audit::{AuditLog, AuditOptions, AuditTarget};
use oip_auth::pdp::embedded::Embedded;
use oip_auth::pdp::{Enforced, GuardOptions, Guarded};
use oip_core::BoxFuture;
use oip_core::access::{
    Access, Action, Arrival, Authenticator, Caller, Credentials, PolicyDecisionPoint, Question,
    Subject,
};
use oip_protocol::{ModelRef, Result};

struct Alice;

impl Authenticator for Alice {
    fn authenticate<'a>(
        &'a self,
        _: &'a Credentials,
    ) -> BoxFuture<'a, Result<Option<Arc<Subject>>>> {
        let claims = serde_json::json!({
            "iss": "https://issuer.example", "aud": "oip", "exp": 1_800_000_000,
            "iat": 1_790_000_000, "email": "alice@example.org", "department": ["finance", "eu"],
        });
        let subject = Subject {
            id: "alice".to_owned(),
            roles: vec!["user".to_owned(), "team-flowers".to_owned()],
            claims: claims.as_object().cloned().unwrap_or_default(),
        };
        Box::pin(async { Ok(Some(Arc::new(subject))) })
    }
}

async fn caller() -> Result<Caller> {
    let access = Access::new(
        Arc::new(Alice),
        Arc::new(Embedded::builtin().expect("built in")),
    );
    let arrival = Arrival {
        peer: Some([192, 0, 2, 7].into()),
        path: "/v2/models/iris/infer".to_owned(),
        ..Arrival::default()
    };
    access.authenticate(arrival).await
}

async fn measure(name: &str, pdp: &dyn PolicyDecisionPoint, caller: &Caller) {
    const CALLS: u32 = 5_000;
    let model = ModelRef::new("iris");
    let question = Question {
        caller,
        action: Action::Infer,
        model: Some(&model),
    };
    let mut best = Duration::MAX;
    for _ in 0..7 {
        let since = Instant::now();
        for _ in 0..CALLS {
            assert!(std::hint::black_box(pdp.decide(&question).await).is_permit());
        }
        best = best.min(since.elapsed());
    }
    let micros = best.as_secs_f64() * 1e6 / f64::from(CALLS);
    println!("{name:<58} {micros:>8.2} us");
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let caller = caller().await.expect("Alice is known");
    let teams = include_str!("../../../examples/policies/teams.cedar");
    let night = include_str!("../../../examples/policies/night-freeze.cedar");
    let night = Arc::new(Embedded::from_text("night", night).expect("an example"));
    // A comment with the word is enough for nothing to be remembered.
    let clocked = format!("// time\n{}", oip_auth::pdp::embedded::BUILTIN);
    let clocked = Embedded::from_text("built in", &clocked).expect("built in");
    let clocked_teams = format!("// time\n{teams}");
    let clocked_teams = Embedded::from_text("teams", &clocked_teams).expect("an example");
    let builtin = || Arc::new(Embedded::builtin().expect("built in"));
    let teams = Arc::new(Embedded::from_text("teams", teams).expect("an example"));
    let cached = GuardOptions {
        cache_ttl: Duration::from_secs(600),
        ..GuardOptions::default()
    };
    let file = std::env::temp_dir().join(format!("oip-bench-audit-{}", std::process::id()));
    let audit = AuditLog::open(AuditOptions {
        target: AuditTarget::File(file.clone()),
        ..AuditOptions::default()
    })
    .expect("a temporary file");

    measure("Cedar, built-in policy, evaluated", &clocked, &caller).await;
    measure(
        "Cedar, teams.cedar (claims as tags), evaluated",
        &clocked_teams,
        &caller,
    )
    .await;
    measure(
        "Cedar, night-freeze.cedar (reads the clock)",
        &*night,
        &caller,
    )
    .await;
    measure("Cedar, built-in policy, asked again", &*builtin(), &caller).await;
    measure("Cedar, teams.cedar, asked again", &*teams, &caller).await;
    let guarded = Arc::new(Guarded::new(builtin(), &GuardOptions::default()));
    measure("Cedar, built-in policy, guarded", &*guarded, &caller).await;
    let remembered = Guarded::new(builtin(), &cached);
    measure(
        "the same, from the cache of the guard",
        &remembered,
        &caller,
    )
    .await;
    let enforced = Enforced::new(guarded).audit(audit.clone());
    measure(
        "guarded, with an audit line that is waited for (refuse)",
        &enforced,
        &caller,
    )
    .await;

    drop(enforced);
    audit.close();
    let _ = std::fs::remove_file(file);
}
