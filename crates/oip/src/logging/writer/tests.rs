use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::*;

/// Somebody who reads when he is told to.
struct Reader {
    more: SyncSender<io::Result<()>>,
    seen: Receiver<Vec<u8>>,
}

struct Pipe {
    may: Receiver<io::Result<()>>,
    seen: SyncSender<Vec<u8>>,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.may.recv().unwrap_or(Ok(()))?;
        let _ = self.seen.try_send(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn writer() -> (Writer, Reader) {
    let (more, may) = sync_channel(1000);
    let (seen, read) = sync_channel(2000);
    let writer = Writer::start(Pipe { may, seen }).unwrap();
    (writer, Reader { more, seen: read })
}

impl Reader {
    fn reads(&self, pieces: usize) -> String {
        for _ in 0..pieces {
            self.more.send(Ok(())).unwrap();
        }
        let patience = Duration::from_secs(10);
        let pieces = (0..pieces).map(|_| self.seen.recv_timeout(patience).unwrap());
        String::from_utf8(pieces.flatten().collect()).unwrap()
    }
}

#[test]
fn lines_are_written_in_their_order_and_flushed() {
    let (writer, reader) = writer();
    writer.write(Log::Access, When::Soon, b"one\n");
    writer.write(Log::Server, When::Now, b"two\n");
    reader.more.send(Ok(())).unwrap();
    reader.more.send(Ok(())).unwrap();
    assert!(writer.flush());
    let seen: Vec<u8> = reader.seen.try_iter().flatten().collect();
    assert_eq!(seen, b"one\ntwo\n");
}

#[test]
fn a_reader_who_does_not_read_holds_nobody_up_and_what_is_lost_is_counted() {
    let (writer, reader) = writer();
    let line = [[b'x'; 1023].as_slice(), b"\n"].concat();
    for _ in 0..5000 {
        writer.write(Log::Server, When::Now, &line);
    }
    let lost = writer.lost(Log::Server);
    assert_eq!(lost, 5000 - 4096);
    assert_eq!(writer.lost(Log::Access), 0);
    writer.be_impatient();
    let began = Instant::now();
    assert!(!writer.flush());
    assert!(began.elapsed() < Duration::from_secs(2));
    drop(reader.more);
    while !writer.flush() {}
    writer.write(Log::Server, When::Now, b"again\n");
    while !writer.flush() {}
    let seen: Vec<Vec<u8>> = reader.seen.try_iter().collect();
    assert_eq!(seen.last().unwrap(), b"again\n");
    assert_eq!(seen.iter().flatten().count(), 4 << 20 | 6);
    assert_eq!(writer.lost(Log::Server), lost);
}

#[test]
fn a_line_that_cannot_be_written_is_lost_and_the_next_is_tried() {
    let (writer, reader) = writer();
    writer.write(Log::Access, When::Soon, b"one\n");
    reader
        .more
        .send(Err(io::ErrorKind::StorageFull.into()))
        .unwrap();
    assert!(writer.flush());
    assert_eq!(writer.lost(Log::Access), 1);
    reader
        .more
        .send(Err(io::ErrorKind::WouldBlock.into()))
        .unwrap();
    writer.write(Log::Access, When::Soon, b"two\n");
    assert_eq!(reader.reads(1), "two\n");
}
