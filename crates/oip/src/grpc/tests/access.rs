//! Who gets in.

use super::*;

#[tokio::test]
async fn a_page_of_another_origin_is_refused() {
    let mut request = post(&infer_path(), silent());
    let origin = "http://evil.example".parse().unwrap();
    request.headers_mut().insert("origin", origin);
    let status = status(ask(&open().await, request).await).await;
    assert_eq!(status.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_stranger_is_refused_before_the_message_is_read_and_the_policy_asked() {
    let (door, asked) = guarded().await;
    for method in [
        "ModelInfer",
        "ModelMetadata",
        "RepositoryModelLoad",
        "ModelStreamInfer",
    ] {
        let response = ask(&door, post(&format!("/{SERVICE}/{method}"), silent())).await;
        assert_eq!(
            status(response).await.code(),
            Code::Unauthenticated,
            "{method}"
        );
    }
    let mut request = post(&infer_path(), silent());
    request
        .headers_mut()
        .insert("authorization", "Bearer you".parse().unwrap());
    let refused = status(ask(&door, request).await).await;
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_eq!(asked.load(Relaxed), 0);
}

#[tokio::test]
async fn who_may_not_is_denied_whatever_the_message_says_of_the_tensors() {
    let (door, _) = guarded().await;
    let mut message = floats("secret", ContentsForm::Raw);
    message.raw_input_contents.clear();
    for (model, code) in [
        ("secret", Code::PermissionDenied),
        ("m", Code::InvalidArgument),
    ] {
        message.model_name = model.into();
        let mut request = post(&infer_path(), framed(&message.encode_to_vec()));
        request
            .headers_mut()
            .insert("authorization", "Bearer me".parse().unwrap());
        assert_eq!(status(ask(&door, request).await).await.code(), code);
    }
}

#[tokio::test]
async fn probes_are_open_and_reflection_is_not() {
    let (door, asked) = guarded().await;
    for path in [
        format!("/{SERVICE}/ServerLive"),
        format!("/{SERVICE}/ServerReady"),
        "/grpc.health.v1.Health/Check".to_owned(),
    ] {
        let response = ask(&door, post(&path, framed(b""))).await;
        assert_eq!(status(response).await.code(), Code::Ok, "{path}");
    }
    assert_eq!(asked.load(Relaxed), 0);
    for version in ["v1", "v1alpha"] {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let response = ask(&door, post(&path, silent())).await;
        assert_eq!(
            status(response).await.code(),
            Code::Unauthenticated,
            "{path}"
        );
    }
}

#[tokio::test]
async fn by_policy_probes_are_for_those_who_may() {
    let access = Access::new(Arc::new(Strict::default()), Arc::new(Strict::default()));
    let options = DoorOptions {
        probes_by_policy: true,
        ..DoorOptions::default()
    };
    let door = door_of(access, options).await;
    let path = "/grpc.health.v1.Health/Check";
    let response = ask(&door, post(path, framed(b""))).await;
    assert_eq!(status(response).await.code(), Code::Unauthenticated);
    let mut request = post(path, framed(b""));
    request
        .headers_mut()
        .insert("authorization", "Bearer me".parse().unwrap());
    assert_eq!(status(ask(&door, request).await).await.code(), Code::Ok);
}
