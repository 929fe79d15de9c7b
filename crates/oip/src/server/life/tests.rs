use super::*;

fn life() -> Arc<Life> {
    let limits = ConnectionLimits {
        header_timeout: Duration::from_secs(30),
        write_timeout: Duration::from_secs(20),
        idle: Duration::from_secs(75),
        age: Some(Duration::from_secs(600)),
        ..ConnectionLimits::default()
    };
    Arc::new(Life::new(Arc::new(limits)))
}

async fn pass(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

fn stays(life: &Life) -> bool {
    matches!(life.look(), Verdict::Stay(_))
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_time_outs_are_long_is_looked_at_as_often() {
    let hour = Duration::from_secs(3600);
    let limits = ConnectionLimits {
        header_timeout: hour,
        write_timeout: hour,
        idle: hour,
        ..ConnectionLimits::default()
    };
    let life = Arc::new(Life::new(Arc::new(limits)));
    let _held = life.begin(Version::HTTP_11);
    assert_eq!(life.look(), Verdict::Stay(Instant::now() + GRACE));
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_head_is_cut_and_one_that_rests_is_ended_later() {
    let silent = life();
    let served = life();
    drop(served.begin(Version::HTTP_11));
    pass(29).await;
    assert!(stays(&silent));
    pass(1).await;
    assert_eq!(silent.look(), Verdict::Cut(Limit::HeaderTimeout));
    assert!(stays(&served));
    pass(45).await;
    assert_eq!(served.look(), Verdict::End(Limit::ConnectionIdle));
}

#[tokio::test(start_paused = true)]
async fn the_head_of_a_later_request_may_take_as_long_as_that_of_the_first() {
    let life = life();
    drop(life.begin(Version::HTTP_11));
    pass(60).await;
    assert!(!life.reads_a_head());
    life.received(b"GET");
    life.waits();
    pass(29).await;
    life.received(b"GET");
    life.waits();
    assert!(stays(&life), "it does not rest any more");
    assert!(life.reads_a_head());
    pass(1).await;
    assert_eq!(life.look(), Verdict::Cut(Limit::HeaderTimeout));
}

#[tokio::test(start_paused = true)]
async fn a_request_in_flight_keeps_its_connection_beyond_rest_and_age_ends_it_gently() {
    let life = life();
    let held = life.begin(Version::HTTP_2);
    life.received(b"GET");
    life.waits();
    pass(300).await;
    assert!(stays(&life));
    pass(300).await;
    assert_eq!(life.look(), Verdict::End(Limit::ConnectionAge));
    life.close();
    assert!(stays(&life), "what is in flight goes on");
    drop(held);
    pass(75).await;
    assert_eq!(life.look(), Verdict::End(Limit::ConnectionIdle));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_of_its_answer_is_cut() {
    let life = life();
    let _held = life.begin(Version::HTTP_11);
    life.written(true);
    pass(19).await;
    life.written(true);
    life.written(false);
    life.written(true);
    pass(19).await;
    assert!(stays(&life));
    pass(1).await;
    assert_eq!(life.look(), Verdict::Cut(Limit::WriteTimeout));
}

#[tokio::test(start_paused = true)]
async fn a_piece_of_an_answer_that_is_not_taken_is_noticed_beside_others_that_are() {
    let life = life();
    let _held = life.begin(Version::HTTP_2);
    let stalled = life.owes();
    for _ in 0..20 {
        assert!(stays(&life));
        let other = life.owes();
        pass(1).await;
        life.taken(other);
    }
    let mut verdict = life.look();
    for _ in 0..15 {
        if matches!(verdict, Verdict::Stay(_)) {
            pass(1).await;
            verdict = life.look();
        }
    }
    assert_eq!(verdict, Verdict::Cut(Limit::WriteTimeout));
    life.taken(stalled);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_does_not_end_when_told_is_cut() {
    let idle = life();
    drop(idle.begin(Version::HTTP_2));
    pass(75).await;
    assert_eq!(idle.look(), Verdict::End(Limit::ConnectionIdle));
    assert!(stays(&idle), "it is told once");
    pass(20).await;
    assert_eq!(idle.look(), Verdict::Cut(Limit::WriteTimeout));

    let old = life();
    let _held = old.begin(Version::HTTP_2);
    pass(600).await;
    assert_eq!(old.look(), Verdict::End(Limit::ConnectionAge));
    old.close();
    assert!(stays(&old));
    pass(600).await;
    assert_eq!(old.look(), Verdict::Cut(Limit::ConnectionAge));
}
