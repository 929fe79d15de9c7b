//! Messages: whole, cut short, trickling, and what they hold.

use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;

use super::*;

type Piece = Result<Bytes, std::io::Error>;

fn of(pieces: impl stream::Stream<Item = Piece> + Send + 'static, rests: bool) -> Messages {
    let bounds = Bounds {
        limit: 10,
        pause: Duration::from_secs(1),
        total: Duration::from_secs(10),
        rests,
    };
    let memory = oip_core::execute::Memory::new(100).nothing();
    let body = Body::new(axum::body::Body::from_stream(pieces));
    Messages::within(body, bounds, Counts::Elsewhere, memory)
}

async fn timed_out(mut messages: Messages) -> Status {
    let hour = Duration::from_secs(3600);
    let refused = async {
        loop {
            match messages.frame().await.unwrap() {
                Ok(_) => {}
                Err(status) => break status,
            }
        }
    };
    tokio::time::timeout(hour, refused).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_message_that_stops_arriving_is_timed_out_and_a_stream_may_rest() {
    let begun = || stream::iter([Ok(Bytes::from_static(b"\0\0\0"))]).chain(stream::pending());
    for rests in [true, false] {
        let status = timed_out(of(begun(), rests)).await;
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
    }
    let mut resting = of(stream::pending(), true);
    let hour = Duration::from_secs(3600);
    assert!(tokio::time::timeout(hour, resting.frame()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_message_never_begins_or_whose_end_never_comes_is_timed_out() {
    let status = timed_out(of(stream::pending(), false)).await;
    assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
    let whole = stream::iter([Ok(Bytes::from_static(b"\0\0\0\0\0"))]);
    let status = timed_out(of(whole.chain(stream::pending()), false)).await;
    assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
}

/// A door, and the messages of a call of this kind of which nothing ever comes.
fn silent(of: Of) -> (Arc<Door>, Messages) {
    use oip_core::{Access, Dataplane, DefaultModelHandler};

    let dataplane = Dataplane::of_handler(DefaultModelHandler, Access::open());
    let door = Door::new(Arc::new(dataplane), crate::DoorOptions::default());
    let door = Arc::new(door);
    let body = axum::body::Body::from_stream(stream::pending::<Piece>());
    let messages = Messages::new(Body::new(body), &door, of);
    (door, messages)
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_no_inference_has_a_short_time_for_its_message() {
    for (of, least) in [(Of::Inference, 30), (Of::Other, 5)] {
        let begun = Instant::now();
        let status = timed_out(silent(of).1).await;
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
        assert_eq!(begun.elapsed().as_secs(), least, "{of:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_message_makes_room_for_others_and_ends_when_the_server_stops() {
    let (door, mut first) = silent(Of::Other);
    door.telemetry.connections.allow(1);
    assert!(poll_once(&mut first).is_none());
    let next = awaited(&door);
    assert_eq!(
        timed_out(first).await.code(),
        tonic::Code::ResourceExhausted
    );
    drop(next);
    for (of, code) in [
        (Of::Other, tonic::Code::Unavailable),
        (Of::Inference, tonic::Code::DeadlineExceeded),
    ] {
        let (door, messages) = silent(of);
        door.dataplane.close();
        assert_eq!(timed_out(messages).await.code(), code, "{of:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_trickles_is_timed_out_when_its_time_is_over() {
    let trickle = stream::unfold(b"\0\0\0\0\x0a0123456".iter(), |mut rest| async {
        tokio::time::sleep(Duration::from_millis(900)).await;
        Some((Ok(Bytes::copy_from_slice(&[*rest.next()?])), rest))
    });
    let status = timed_out(of(trickle.chain(stream::pending()), true)).await;
    assert_eq!(status.message(), "the message took too long to arrive");
}

#[tokio::test(start_paused = true)]
async fn messages_behind_the_one_of_a_call_give_it_no_more_time_and_no_memory_back() {
    let empty = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(900)).await;
        Some((Ok(Bytes::from_static(b"\0\0\0\0\0")), ()))
    });
    let message = stream::iter([Ok(Bytes::from_static(b"\0\0\0\0\x0a0123456789"))]);
    let begun = Instant::now();
    let mut call = of(message.chain(empty), false);
    let mut most = 0;
    while call.frame().await.unwrap().is_ok() {
        assert!(call.memory.bytes() >= 15);
        most = call.memory.bytes();
    }
    assert!(most > 15 && begun.elapsed() <= Duration::from_secs(11));
}

#[tokio::test]
async fn a_stream_that_rests_holds_nothing_of_the_message_that_was_answered() {
    let message = stream::iter([Ok(Bytes::from_static(b"\0\0\0\0\x0a0123456789"))]);
    let mut resting = of(message.chain(stream::pending()), true);
    assert!(poll_once(&mut resting).is_some());
    assert_eq!(resting.memory.bytes(), 15);
    use futures_util::FutureExt;
    assert!(resting.frame().now_or_never().is_none());
    assert_eq!(resting.memory.bytes(), 0);
}

#[tokio::test]
async fn messages_of_a_stream_take_memory_one_after_the_other() {
    let message = Bytes::from_static(b"\0\0\0\0\x0a0123456789");
    let many = std::iter::repeat_n(message, 50).map(Ok);
    let passed = of(stream::iter(many), true).collect().await.unwrap();
    assert_eq!(passed.to_bytes().len(), 50 * 15);
}

fn messages(pieces: &[&[u8]]) -> Messages {
    let pieces: Vec<Piece> = pieces
        .iter()
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    of(stream::iter(pieces), false)
}

async fn read(pieces: &[&[u8]]) -> Result<Vec<u8>, Status> {
    Ok(messages(pieces).collect().await?.to_bytes().to_vec())
}

#[tokio::test]
async fn messages_pass_whatever_their_frames_are() {
    let wire = b"\0\0\0\0\x03abc\0\0\0\0\0\0\0\0\0\x01d";
    assert_eq!(read(&[wire]).await.unwrap(), wire);
    let bytes: Vec<&[u8]> = wire.chunks(1).collect();
    assert_eq!(read(&bytes).await.unwrap(), wire);
    let threes: Vec<&[u8]> = wire.chunks(3).collect();
    assert_eq!(read(&threes).await.unwrap(), wire);
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_by_its_length_alone() {
    let status = read(&[b"\0\0\0\0\x0b"]).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    assert_eq!(
        status.message(),
        "the message takes 11 bytes, but at most 10 are read"
    );
}

#[tokio::test]
async fn a_message_that_is_cut_short_is_refused_with_both_lengths() {
    let status = read(&[b"\0\0\0\0\x03ab"]).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    assert!(status.message().ends_with("takes 3 bytes, but 2 came"));
    assert!(read(&[b"\0\0"]).await.is_err());
}

#[tokio::test]
async fn nothing_passes_before_the_message_is_there() {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
    let frames = stream::unfold(receiver, |mut receiver| async {
        let piece = receiver.recv().await?;
        Some((Ok::<_, std::io::Error>(piece), receiver))
    });
    let mut messages = of(frames, false);
    sender
        .send(Bytes::from_static(b"\0\0\0\0\x0a"))
        .await
        .unwrap();
    let mut frame = poll_once(&mut messages);
    assert!(frame.is_none(), "the length passed alone");
    sender
        .send(Bytes::from_static(b"0123456789"))
        .await
        .unwrap();
    frame = poll_once(&mut messages);
    assert!(frame.is_some());
}

fn poll_once(messages: &mut Messages) -> Option<Frame<Bytes>> {
    use futures_util::FutureExt;
    messages
        .frame()
        .now_or_never()
        .map(|frame| frame.unwrap().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_large_message_that_stops_gives_way_once_another_is_refused_and_not_before() {
    for rests in [false, true] {
        let memory = oip_core::execute::Memory::new(1 << 20);
        let mut first = vec![0; 900 << 10];
        first[1..5].copy_from_slice(&(1_u32 << 20).to_be_bytes());
        let trickle = stream::unfold(first, |piece| async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from(piece)), vec![0]))
        });
        let bounds = Bounds {
            limit: 1 << 20,
            pause: Duration::from_secs(1),
            total: Duration::from_secs(300),
            rests,
        };
        let body = Body::new(axum::body::Body::from_stream(trickle));
        let messages = Messages::within(body, bounds, Counts::Elsewhere, memory.nothing());
        let (begun, refused_at) = (Instant::now(), Duration::from_secs(60));
        let another = async {
            tokio::time::sleep(refused_at).await;
            memory.nothing().grow(900 << 10).unwrap_err()
        };
        let (status, _) = tokio::join!(timed_out(messages), another);
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        let took = begun.elapsed();
        let soon = refused_at + Duration::from_secs(3);
        assert!(took >= refused_at && took < soon, "{took:?}");
        assert_eq!(memory.held(), 0);
    }
}
