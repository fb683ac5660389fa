//! What `global/pg_control` says of a server that does not run
//! (`src/include/catalog/pg_control.h`; PostgreSQL 13 to 16 have the same layout).

use std::io::Read;
use std::path::Path;

use super::files;
use super::trouble::Trouble;

/// `PG_CONTROL_VERSION` of this layout.
const VERSION: u32 = 1300;
/// As much of the file as is read: everything up to the segment size.
const LENGTH: usize = 232;

/// `XLogRecord`, a short data header, `CheckPoint`.
const CHECKPOINT_RECORD: u64 = 24 + 2 + 88;
/// `SizeOfXLogShortPHD` and `SizeOfXLogLongPHD`, both aligned.
const PAGE_HEADER: u64 = 24;
const SEGMENT_HEADER: u64 = 40;

/// What the cluster was doing when the file was last written (`DBState`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// A primary that was shut down in order: its log ends with the shutdown checkpoint.
    ShutDown,
    /// A standby that was shut down in order.
    ShutDownInRecovery,
    /// Anything else: it runs, or it crashed.
    Other,
}

/// The parts of the file that are used here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Control {
    pub(super) system_id: u64,
    pub(super) state: State,
    /// The position of the last checkpoint's record.
    pub(super) checkpoint: u64,
    /// The timeline of that checkpoint.
    pub(super) timeline: u32,
    /// The timeline up to which the files hold changes; 0 when the server was no standby.
    pub(super) minimum_timeline: u32,
    page: u64,
    pub(super) segment: u64,
}

impl Control {
    /// Reads the file of a cluster.
    ///
    /// # Errors
    /// It is not there, cannot be read, or has another layout.
    pub(super) fn read(data_dir: &Path) -> Result<Control, Trouble> {
        let path = data_dir.join("global/pg_control");
        let mut bytes = [0; LENGTH];
        files::open(&path)
            .and_then(|mut file| file.read_exact(&mut bytes))
            .map_err(|error| Trouble::File { path, error })?;
        Control::parse(&bytes).ok_or(Trouble::Answer("pg_control"))
    }

    fn parse(bytes: &[u8; LENGTH]) -> Option<Control> {
        let u32_at = |at: usize| Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
        let u64_at = |at: usize| Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
        if u32_at(8)? != VERSION {
            return None;
        }
        let control = Control {
            system_id: u64_at(0)?,
            state: match u32_at(16)? {
                1 => State::ShutDown,
                2 => State::ShutDownInRecovery,
                _ => State::Other,
            },
            checkpoint: u64_at(32)?,
            timeline: u32_at(48)?,
            minimum_timeline: u32_at(144)?,
            page: u32_at(224)?.into(),
            segment: u32_at(228)?.into(),
        };
        let sizes = control.page.is_power_of_two() && control.segment.is_power_of_two();
        (sizes && control.page > SEGMENT_HEADER && control.segment > control.page)
            .then_some(control)
    }

    /// The end of the log of a primary that was shut down in order: behind its shutdown checkpoint,
    /// the last record there is (`ShutdownXLOG`). It is what a standby that has received it all
    /// calls its position.
    pub(super) fn end_of_log(&self) -> Option<u64> {
        match self.state {
            State::ShutDown => Some(self.end_of_record(self.checkpoint, CHECKPOINT_RECORD)),
            State::ShutDownInRecovery | State::Other => None,
        }
    }

    /// Where a record of `length` bytes at `start` ends. Its bytes skip the header of every page
    /// that they reach; records are aligned to eight bytes.
    fn end_of_record(&self, start: u64, length: u64) -> u64 {
        let mut at = start;
        let mut left = length;
        loop {
            let room = self.page - at % self.page;
            if left <= room {
                return (at + left).next_multiple_of(8);
            }
            left -= room;
            at += room;
            at += if at % self.segment == 0 { SEGMENT_HEADER } else { PAGE_HEADER };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Control, State};

    #[test]
    fn a_record_skips_the_headers_of_the_pages_that_it_reaches() {
        let control = Control {
            system_id: 1,
            state: State::ShutDown,
            checkpoint: 0,
            timeline: 1,
            minimum_timeline: 0,
            page: 8192,
            segment: 1 << 20,
        };
        for (start, end) in [
            (0x3000028, 0x30000a0),
            // Ends with the page: the next one's header is not part of it.
            (0x3002000 - 120, 0x3002000),
            (0x3002000 - 112, 0x3002000 + 24 + 8),
            (0x3002000 - 8, 0x3002000 + 24 + 112),
            (0x3100000 - 8, 0x3100000 + 40 + 112),
        ] {
            let end_seen = Control { checkpoint: start, ..control }.end_of_log();
            assert_eq!(end_seen, Some(end), "{start:#x}");
        }
        assert_eq!(Control { state: State::Other, ..control }.end_of_log(), None);
    }
}
