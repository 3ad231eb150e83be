//! What holds of frames between Posthouse and a worker.
//!
//! Nothing here has a process.

use proto::worker::{Cell, LONGEST_VALUE, MOST_COLUMNS, Report, Request, body_length};

/// Any bytes as a frame's length, and as the body of each kind of frame.
pub fn worker(data: &[u8]) {
    if let Some((head, _)) = data.split_first_chunk::<4>() {
        let _ = body_length(*head);
    }
    if let Ok((number, report)) = Report::read(data) {
        let frame = report.frame(number).expect("what was a frame is one again");
        assert_eq!(frame.get(4..), Some(data));
        if let Report::Row(cells) = report {
            assert!(cells.len() <= MOST_COLUMNS);
            assert!(cells.iter().all(is_short));
        }
    }
    if let Ok(request) = Request::read(data) {
        let frame = request.frame().expect("what was a frame is one again");
        assert_eq!(frame.get(4..), Some(data));
    }
}

fn is_short(cell: &Cell<'_>) -> bool {
    match cell {
        Cell::Bytes(bytes) => bytes.len() <= LONGEST_VALUE,
        Cell::Text(text) => text.len() <= LONGEST_VALUE,
        Cell::Boolean(_) | Cell::Integer(_) | Cell::Long | Cell::Null | Cell::Other => true,
    }
}
