//! Streams of inferences, which live longer than what their callers show.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures_util::Stream;
use oip::grpc::generated_client::grpc_inference_service_client::GrpcInferenceServiceClient;
use oip::grpc::messages;
use oip::testing::TestServer;
use oip::{Access, Error, ErrorKind};
use oip_core::BoxFuture;
use oip_core::access::{
    Authenticator, Credentials, Decision, PolicyDecisionPoint, Question, Subject, TurnedAway,
};
use tokio::sync::mpsc;

use crate::lab;

/// A credential that holds until it is withdrawn.
#[derive(Default)]
struct Gate {
    withdrawn: AtomicBool,
    told: AtomicBool,
}

impl Authenticator for Gate {
    fn authenticate<'a>(
        &'a self,
        credentials: &'a Credentials,
    ) -> BoxFuture<'a, oip::Result<Option<Arc<Subject>>>> {
        let holds = !self.withdrawn.load(Relaxed) && credentials.authorization == ["Bearer a"];
        let subject = || {
            Some(Arc::new(Subject {
                id: "alice".into(),
                ..Subject::default()
            }))
        };
        let refused = || Error::new(ErrorKind::Unauthenticated, "the credential does not hold");
        Box::pin(async move { holds.then(subject).ok_or_else(refused) })
    }
}

impl PolicyDecisionPoint for Gate {
    fn decide<'a>(&'a self, _: &'a Question<'a>) -> BoxFuture<'a, Decision> {
        let reason = "everybody may".to_owned();
        Box::pin(async { Decision::Permit { reason } })
    }

    fn turned_away<'a>(&'a self, who: &'a TurnedAway<'a>) -> BoxFuture<'a, ()> {
        self.told.store(
            who.path == "/inference.GRPCInferenceService/ModelStreamInfer",
            Relaxed,
        );
        Box::pin(async {})
    }

    fn name(&self) -> &'static str {
        "gate"
    }
}

/// A request that sends so many bytes there and back.
fn echo(length: usize) -> messages::ModelInferRequest {
    messages::ModelInferRequest {
        model_name: "free".into(),
        inputs: vec![messages::model_infer_request::InferInputTensor {
            name: "x".into(),
            datatype: "UINT8".into(),
            shape: vec![length as i64],
            ..Default::default()
        }],
        raw_input_contents: vec![vec![7; length].into()],
        ..Default::default()
    }
}

#[tokio::test]
async fn every_answer_of_a_stream_is_sent_whole_however_its_length_falls_into_frames() {
    let server = lab::start().await;
    let channel = format!("http://{}", server.grpc_address());
    let channel = tonic::transport::Channel::from_shared(channel).unwrap();
    let mut client = GrpcInferenceServiceClient::new(channel.connect().await.unwrap());
    let (sender, asked) = mpsc::channel(1);
    let asked = futures_util::stream::unfold(asked, |mut asked: mpsc::Receiver<_>| async {
        Some((asked.recv().await?, asked))
    });
    sender.send(echo(1)).await.unwrap();
    let mut answers = client.model_stream_infer(asked).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
    // With what a message holds besides, some of these end at the end of a frame of 16 KiB.
    let lengths = [12_000, 49_152, 600_000].into_iter();
    for length in lengths.chain((16_384 - 120)..16_384).chain([65_536 - 64]) {
        sender.send(echo(length)).await.unwrap();
        // Nothing else is asked meanwhile that could push it out.
        let answer = tokio::time::timeout(Duration::from_secs(10), answers.message());
        let answer = answer.await.expect("it is sent at once").unwrap().unwrap();
        let answer = answer.infer_response.unwrap();
        assert_eq!(answer.raw_output_contents[0].len(), length);
    }
}

/// A request for each word.
fn asking(words: mpsc::Receiver<()>) -> impl Stream<Item = messages::ModelInferRequest> {
    futures_util::stream::unfold(words, |mut words| async {
        words.recv().await?;
        let asked = messages::ModelInferRequest {
            model_name: "free".into(),
            ..Default::default()
        };
        Some((asked, words))
    })
}

#[tokio::test]
async fn a_stream_ends_when_what_its_caller_showed_does_not_hold_any_more() {
    let gate = Arc::new(Gate::default());
    let access = Access::new(
        Arc::clone(&gate) as Arc<dyn Authenticator>,
        Arc::clone(&gate) as Arc<dyn PolicyDecisionPoint>,
    );
    let server = TestServer::start(lab::server().access(access))
        .await
        .unwrap();
    let channel = format!("http://{}", server.grpc_address());
    let channel = tonic::transport::Channel::from_shared(channel).unwrap();
    let mut client = GrpcInferenceServiceClient::new(channel.connect().await.unwrap());
    let (sender, words) = mpsc::channel(1);
    let mut call = tonic::Request::new(asking(words));
    let shown = "Bearer a".parse().unwrap();
    call.metadata_mut().insert("authorization", shown);
    sender.send(()).await.unwrap();
    let mut answers = client.model_stream_infer(call).await.unwrap().into_inner();
    for _ in 0..2 {
        assert!(answers.message().await.unwrap().is_some());
        sender.send(()).await.unwrap();
    }
    assert!(answers.message().await.unwrap().is_some());
    gate.withdrawn.store(true, Relaxed);
    sender.send(()).await.unwrap();
    let ended = answers.message().await.unwrap_err();
    assert_eq!(ended.code(), tonic::Code::Unauthenticated);
    assert!(
        gate.told.load(Relaxed),
        "who was turned away is written down"
    );
}
