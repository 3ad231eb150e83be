//! The thread that writes the log. It is woken once per batch and not once per line: at thousands of
//! logins per second, waking it would cost more than the lines themselves.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait to be written: a burst of some seconds on a busy front door.
const WAITING_LINES: usize = 16_384;
/// How long a line waits for others to be written with it.
const GATHER: Duration = Duration::from_millis(5);
/// How long the program's end waits for a reader that is slow.
const LAST_LINES: Duration = Duration::from_secs(1);

enum Note {
    /// Write this.
    Line(Vec<u8>),
    /// Everything before this is written: say so.
    Written(SyncSender<()>),
}

/// Where lines are handed in.
#[derive(Clone)]
pub(super) struct Queue {
    notes: SyncSender<Note>,
    lost: Arc<AtomicU64>,
}

impl Queue {
    /// Starts the thread, which writes to `out` for the life of the program.
    ///
    /// # Errors
    /// Those of the kernel when it has no thread for us.
    pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (notes, waiting) = sync_channel(WAITING_LINES);
        thread::Builder::new().name("log".into()).spawn(move || write_for_ever(out, &waiting))?;
        Ok(Self { notes, lost: Arc::default() })
    }

    /// Lines that found no room since the start.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until what was handed in is written, or the reader proves too slow.
    pub(super) fn flush(&self) {
        let (written, wait) = sync_channel(1);
        if self.notes.try_send(Note::Written(written)).is_ok() {
            // Past the limit the lines are lost with the program.
            let _: Result<(), RecvTimeoutError> = wait.recv_timeout(LAST_LINES);
        }
    }
}

/// Writes what comes. The queue lives as long as the program, so this ends with it.
fn write_for_ever(mut out: impl Write, waiting: &Receiver<Note>) {
    let mut batch = Vec::new();
    while let Ok(first) = waiting.recv() {
        if matches!(first, Note::Line(_)) {
            thread::sleep(GATHER);
        }
        for note in std::iter::once(first).chain(waiting.try_iter().take(WAITING_LINES)) {
            match note {
                Note::Line(line) => batch.extend_from_slice(&line),
                Note::Written(say) => {
                    write(&mut out, &mut batch);
                    // Whoever asked may have given up.
                    let _ = say.try_send(());
                }
            }
        }
        write(&mut out, &mut batch);
    }
}

fn write(out: &mut impl Write, batch: &mut Vec<u8>) {
    // There is nowhere left to complain.
    let _ = out.write_all(batch).and_then(|()| out.flush());
    batch.clear();
}

impl Write for Queue {
    /// Takes one whole line: the formatter writes each at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.notes.try_send(Note::Line(line.to_vec())) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Queue {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use super::*;

    /// Takes nothing until it is told to.
    struct Slow {
        may: Receiver<()>,
        page: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.may.recv().map_err(io::Error::other)?;
            self.page.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_come_out_whole_and_in_order_and_those_without_room_are_counted() {
        let (allow, may) = mpsc::channel();
        let page = Arc::new(Mutex::new(Vec::new()));
        let mut queue = Queue::start(Slow { may, page: Arc::clone(&page) }).unwrap();
        let lines = 3 * WAITING_LINES;
        for number in 0..lines {
            queue.write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        assert!(queue.lost() > 0);
        for _ in 0..lines {
            allow.send(()).unwrap();
        }
        // The queue may be full for a moment: a question that finds no room is asked again.
        let (written, wait) = sync_channel(1);
        while queue.notes.try_send(Note::Written(written.clone())).is_err() {
            thread::yield_now();
        }
        wait.recv_timeout(Duration::from_secs(5)).unwrap();
        let text = String::from_utf8(page.lock().unwrap().clone()).unwrap();
        let numbers: Vec<usize> = text.lines().map(|line| line.parse().unwrap()).collect();
        assert!(numbers.is_sorted());
        assert_eq!(numbers.len() as u64 + queue.lost(), lines as u64);
    }
}
