//! TLS as the configuration switches it on, asked of the built binary.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

use super::running::{PATIENCE, Running};
use super::*;

/// A folder with `ca.pem`, and `cert.pem` and `key.pem` that it signed for localhost.
pub(crate) struct Pki {
    folder: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = CertifiedIssuer::self_signed(params, key).unwrap();
        let pki = Self { folder, authority };
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &pki.authority).unwrap();
        pki.write("ca.pem", &pki.authority.pem());
        pki.write("cert.pem", &certificate.pem());
        pki.write("key.pem", &key.serialize_pem());
        pki
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub(crate) fn write(&self, file: &str, content: &str) {
        std::fs::write(self.path(file), content).unwrap();
    }

    /// The flags that name the files.
    pub(crate) fn flags(&self, client_ca: bool) -> Vec<String> {
        let flag = |flag: &str, file| format!("--{flag}={}", self.path(file).display());
        let mut flags = vec![flag("tls-cert", "cert.pem"), flag("tls-key", "key.pem")];
        if client_ca {
            flags.push(flag("tls-client-ca", "ca.pem"));
        }
        flags
    }

    /// A client that shows a certificate of this name.
    fn client(&self, name: &str) -> Arc<ClientConfig> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let chain = vec![certificate.der().clone()];
        Arc::new(builder.with_client_auth_cert(chain, key).unwrap())
    }
}

fn ask(server: &Running, client: &Arc<ClientConfig>, method: &str, path: &str) -> String {
    let session = ClientConnection::new(Arc::clone(client), "localhost".try_into().unwrap());
    let stream = TcpStream::connect(server.rest).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream = StreamOwned::new(session.unwrap(), stream);
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn certificates_alone_are_a_way_in_and_their_names_reach_the_policy_and_the_audit() {
    let pki = Pki::new();
    pki.write(
        "policy.cedar",
        r#"@id("carol-loads") permit(principal == Subject::"carol", action == Action::"load", resource);"#,
    );
    let audit = pki.path("audit.jsonl");
    let mut arguments = pki.flags(true);
    arguments.push(format!("--audit-file={}", audit.display()));
    arguments.push(format!(
        "--policy-file={}",
        pki.path("policy.cedar").display()
    ));
    let fixed = [MODELS, "--onnxruntime-library", "off", "--port", "0"];
    let arguments: Vec<&str> = fixed
        .into_iter()
        .chain(arguments.iter().map(String::as_str))
        .collect();
    let server = Running::start_closed(&arguments, &[], "curl");
    let port = server.rest.port();
    for line in [
        format!("REST  https://127.0.0.1:{port}"),
        format!("docs  https://127.0.0.1:{port}/docs"),
        format!("gRPC  grpcs://127.0.0.1:{port}"),
        format!("curl -s https://127.0.0.1:{port}/v2/models/"),
    ] {
        assert!(server.said.contains(&line), "{}", server.said);
    }
    let load = "/v2/repository/models/iris/load";
    for (name, status) in [("carol", "200"), ("dave", "403"), ("Anonymous", "401")] {
        let answer = ask(&server, &pki.client(name), "POST", load);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{name}: {answer}"
        );
    }
    server.signal("-TERM");
    let (code, log) = server.wait();
    assert_eq!(code, Some(0), "{log}");
    let lines = std::fs::read_to_string(audit).unwrap();
    let lines: Vec<&str> = lines.lines().collect();
    // The third is of the certificate that names nobody: it was turned away.
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[2].contains(r#""pdp":"authentication""#), "{lines:?}");
    assert!(lines[0].contains(r#""subject":"carol""#) && lines[0].contains("permit"));
    assert!(lines[1].contains(r#""subject":"dave""#) && lines[1].contains("deny"));
    assert!(!log.contains("BEGIN"), "{log}");
}

#[test]
fn files_that_do_not_fit_refuse_to_start_in_one_line_that_names_option_and_file() {
    let (pki, other) = (Pki::new(), Pki::new());
    let fine = pki.flags(false);
    let other_key = format!("--tls-key={}", other.path("key.pem").display());
    for (flags, named) in [
        (vec![&fine[0]], "tls_key"),
        (vec![&fine[1]], "tls_cert"),
        (vec![&fine[0], &other_key], "is not the key"),
        (
            vec![&fine[0], &fine[0].replace("cert=", "key=")],
            "no private key",
        ),
        (
            vec![&fine[1], &fine[1].replace("key=", "cert=")],
            "no certificate",
        ),
    ] {
        let mut command = oip(&["serve", "--auth-enabled", "false", "--port", "0"]);
        let output = output(command.args(flags));
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        let errors: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("error: "))
            .collect();
        assert!(errors.len() == 1 && errors[0].contains(named), "{text}");
        assert!(!text.contains("BEGIN PRIVATE KEY-----\nM"), "{text}");
    }
}
