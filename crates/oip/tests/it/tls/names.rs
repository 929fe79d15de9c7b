//! Who a client certificate lets in, and as whom.

use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};

use super::authority::{Identity, dns, uri};
use super::*;

#[tokio::test]
async fn the_name_in_the_certificate_reaches_the_policy_at_both_doors() {
    let (pki, clients) = (Pki::new(), Authority::new("clients"));
    let (server, policy) = start_guarded(pki.asking(&clients, ClientAuth::Required)).await;
    let spiffe = clients.client_as("carol", |params| {
        params.subject_alt_names = vec![dns("c.example"), uri("spiffe://x/ns/a/sa/b")];
    });
    let host = clients.client_as("carol", |params| {
        params.subject_alt_names = vec![dns("c.example")];
    });
    for (identity, name) in [
        (clients.client("carol"), "carol"),
        (host, "c.example"),
        (spiffe, "spiffe://x/ns/a/sa/b"),
    ] {
        let trust = Trust::new(&pki.authority, Some(&identity));
        assert_eq!(ask_both(&server, &trust).await, (true, true), "{name}");
        assert_eq!(policy.take(), [name, name]);
    }
}

async fn is_refused(server: &TestServer, pki: &Pki, identity: Option<&Identity>) {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let trust = Trust::with_versions(&pki.authority, identity, &[version]);
        assert!(trust.get(server.rest_address(), "/v2").await.is_err());
        let grpc = trust.double(server.grpc_address()).await;
        assert!(grpc.is_none_or(|answer| answer.is_err()));
    }
}

#[tokio::test]
async fn a_certificate_that_does_not_hold_ends_the_handshake() {
    let (pki, clients) = (Pki::new(), Authority::new("clients"));
    // The same name, another key.
    let impostor = Authority::new("clients");
    let expired = clients.client_as("carol", |params| {
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2001, 1, 1);
    });
    let early = clients.client_as("carol", |params| {
        params.not_before = date_time_ymd(3000, 1, 1);
        params.not_after = date_time_ymd(3001, 1, 1);
    });
    let of_a_server = clients.client_as("carol", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let below = clients.intermediate("below");
    let without_its_chain = below.client("carol");
    for auth in [ClientAuth::Required, ClientAuth::Optional] {
        let (server, policy) = start_guarded(pki.asking(&clients, auth)).await;
        for (n, identity) in [
            &impostor.client("carol"),
            &pki.authority.client("carol"),
            &expired,
            &early,
            &of_a_server,
            &without_its_chain,
        ]
        .into_iter()
        .enumerate()
        {
            is_refused(&server, &pki, Some(identity)).await;
            assert!(policy.take().is_empty(), "{auth:?} {n}");
        }
    }
}

#[tokio::test]
async fn a_certificate_through_an_authority_in_between_holds() {
    let (pki, clients) = (Pki::new(), Authority::new("clients"));
    let (server, policy) = start_guarded(pki.asking(&clients, ClientAuth::Required)).await;
    let below = clients.intermediate("below");
    let identity = below.client("carol").through(&below);
    let trust = Trust::new(&pki.authority, Some(&identity));
    assert_eq!(ask_both(&server, &trust).await, (true, true));
    assert_eq!(policy.take(), ["carol", "carol"]);
}

#[tokio::test]
async fn an_authority_that_is_taken_out_of_the_file_lets_no_new_connection_in() {
    let (pki, clients) = (Pki::new(), Authority::new("clients"));
    let (server, _) = start_guarded(pki.asking(&clients, ClientAuth::Required)).await;
    let trust = Trust::new(&pki.authority, Some(&clients.client("carol")));
    assert_eq!(ask_both(&server, &trust).await, (true, true));
    pki.asking(&Authority::new("others"), ClientAuth::Required);
    let mut refused = false;
    for _ in 0..80 {
        refused = ask_both(&server, &trust).await == (false, false);
        if refused {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    // The same client, which would resume its session if it could.
    assert!(refused, "its certificate still holds");
}

#[tokio::test]
async fn no_certificate_is_refused_where_one_is_required_and_anonymous_where_not() {
    let (pki, clients) = (Pki::new(), Authority::new("clients"));
    let (server, policy) = start_guarded(pki.asking(&clients, ClientAuth::Required)).await;
    is_refused(&server, &pki, None).await;
    assert!(policy.take().is_empty());
    let (server, policy) = start_guarded(pki.asking(&clients, ClientAuth::Optional)).await;
    let trust = Trust::new(&pki.authority, None);
    assert_eq!(ask_both(&server, &trust).await, (true, true));
    assert_eq!(policy.take(), ["Anonymous", "Anonymous"]);
}

#[tokio::test]
async fn a_certificate_that_names_nobody_or_anonymous_is_a_credential_that_does_not_hold() {
    let (pki, clients) = (Pki::new(), Authority::new("clients"));
    let (server, policy) = start_guarded(pki.asking(&clients, ClientAuth::Required)).await;
    for name in ["Anonymous", "anonymous", " ", "a\nb"] {
        let trust = Trust::new(&pki.authority, Some(&clients.client(name)));
        let status = trust.get(server.rest_address(), "/v2/models/double").await;
        assert_eq!(status.unwrap(), 401, "{name:?}");
        let answer = trust.double(server.grpc_address()).await.unwrap();
        let kind = answer.unwrap_err().kind();
        assert_eq!(kind, oip::ErrorKind::Unauthenticated, "{name:?}");
    }
    assert!(policy.take().is_empty());
}

#[tokio::test]
async fn a_wrong_token_beside_a_right_certificate_is_refused() {
    let (pki, clients) = (Pki::new(), Authority::new("clients"));
    let (server, policy) = start_guarded(pki.asking(&clients, ClientAuth::Required)).await;
    let trust = Trust::new(&pki.authority, Some(&clients.client("carol")));
    for header in [
        "authorization: Bearer garbage\r\n",
        "x-api-key: garbage\r\n",
    ] {
        let status = trust.get_with(server.rest_address(), "/v2", header).await;
        assert_eq!(status.unwrap(), 401, "{header}");
    }
    assert!(policy.take().is_empty());
}
