//! The losing branch, as `pg_waldump` prints it: who committed past the fork, and where rows were
//! written or deleted.

use std::collections::{BTreeMap, HashMap, HashSet};

/// A file of a table or index: the database's number and the file's.
pub type FileNode = (u32, u32);

/// When and where a transaction was committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Commit {
    /// As the server's clock showed it, in UTC: `2026-11-22 01:36:45.000000 UTC`.
    pub time: String,
    /// The position of its record, as PostgreSQL writes it.
    pub lsn: String,
}

/// What the records past the fork say.
#[derive(Clone, Default, Debug)]
pub struct Branch {
    /// Every committed transaction, and every subtransaction of one.
    pub commits: BTreeMap<u32, Commit>,
    /// How many transactions were committed, without their subtransactions.
    pub transactions: u64,
    /// The position of the last commit record.
    pub last_commit: Option<String>,
    /// Every file that was written to.
    pub touched: HashSet<FileNode>,
    deletes: HashMap<FileNode, HashMap<u32, u64>>,
    /// How many records there are; none means that the branch is empty.
    pub records: u64,
}

impl Branch {
    /// Takes one line of `pg_waldump`.
    pub fn read(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("rmgr: ") else { return };
        let Some((manager, rest)) = rest.split_once(" len (rec/tot):") else { return };
        let Some((head, description)) = rest.split_once(", desc: ") else { return };
        let xid = after(head, "tx:").and_then(|text| text.parse().ok()).unwrap_or(0);
        let lsn = after(head, "lsn:").unwrap_or_default();
        self.records += 1;
        let files: Vec<FileNode> = files(description).collect();
        if manager.trim() == "Heap"
            && description.starts_with("DELETE")
            && let Some(file) = files.first()
        {
            *self.deletes.entry(*file).or_default().entry(xid).or_default() += 1;
        }
        if manager.trim() == "Transaction" {
            self.commit(xid, lsn, description);
        }
        self.touched.extend(files);
    }

    fn commit(&mut self, xid: u32, lsn: &str, description: &str) {
        let (xid, rest) = match description.split_once(' ') {
            Some(("COMMIT", rest)) => (xid, rest),
            // "COMMIT_PREPARED 740: time; …"
            Some(("COMMIT_PREPARED", rest)) => match rest.split_once(": ") {
                Some((number, rest)) => (number.parse().unwrap_or(xid), rest),
                None => (xid, rest),
            },
            Some(_) | None => return,
        };
        let mut parts = rest.split(';');
        let time = parts.next().unwrap_or_default().trim().to_owned();
        let commit = Commit { time, lsn: lsn.to_owned() };
        for part in parts {
            let Some(list) = part.trim().strip_prefix("subxacts:") else { continue };
            for xid in list.split_ascii_whitespace().filter_map(|xid| xid.parse().ok()) {
                self.commits.insert(xid, commit.clone());
            }
        }
        self.commits.insert(xid, commit);
        self.transactions += 1;
        self.last_commit = Some(lsn.to_owned());
    }

    /// How many rows of this file committed transactions deleted.
    pub fn deleted(&self, file: FileNode) -> u64 {
        let by = self.deletes.get(&file).into_iter().flatten();
        by.filter(|(xid, _)| self.commits.contains_key(xid)).map(|(_, count)| count).sum()
    }
}

/// The number or position after a key, up to the next comma.
fn after<'a>(head: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = head.split_once(key)?;
    Some(rest.split(',').next().unwrap_or_default().trim())
}

/// Every "rel tablespace/database/file" of a record.
fn files(description: &str) -> impl Iterator<Item = FileNode> + '_ {
    description.split("rel ").skip(1).filter_map(|rest| {
        let word = rest.split([' ', ',', ';']).next()?;
        let mut numbers = word.split('/').skip(1).map(str::parse);
        match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(database)), Some(Ok(file)), None) => Some((database, file)),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::Branch;

    const LINES: &str = "\
rmgr: Heap        len (rec/tot):     59/    59, tx:        738, lsn: 0/03000110, prev 0/030000D8, desc: INSERT off 2 flags 0x08, blkref #0: rel 1663/5/16385 blk 0
rmgr: Heap        len (rec/tot):     54/    54, tx:        739, lsn: 0/03000150, prev 0/03000110, desc: DELETE off 1 flags 0x00 KEYS_UPDATED , blkref #0: rel 1663/5/16385 blk 0
rmgr: Btree       len (rec/tot):     64/    64, tx:        738, lsn: 0/03000190, prev 0/03000150, desc: INSERT_LEAF off 2, blkref #0: rel 1663/5/16390 blk 1
rmgr: Transaction len (rec/tot):     34/    34, tx:        738, lsn: 0/030001D0, prev 0/03000190, desc: COMMIT 2026-11-22 01:39:23.123456 UTC
rmgr: Transaction len (rec/tot):     34/    34, tx:        739, lsn: 0/03000200, prev 0/030001D0, desc: ABORT 2026-11-22 01:39:24.000000 UTC
rmgr: Heap        len (rec/tot):     54/    54, tx:        741, lsn: 0/03000220, prev 0/03000200, desc: DELETE off 2 flags 0x00 KEYS_UPDATED , blkref #0: rel 1663/5/16385 blk 0
rmgr: Transaction len (rec/tot):     82/    82, tx:        740, lsn: 0/03000260, prev 0/03000220, desc: COMMIT 2026-11-22 01:39:25.000000 UTC; subxacts: 741 742; inval msgs: catcache 50
rmgr: Transaction len (rec/tot):     82/    82, tx:          0, lsn: 0/030002A0, prev 0/03000260, desc: COMMIT_PREPARED 750: 2026-11-22 01:39:26.000000 UTC; subxacts: 751
rmgr: Standby     len (rec/tot):     50/    50, tx:          0, lsn: 0/03000300, prev 0/030002A0, desc: RUNNING_XACTS nextXid 752 latestCompletedXid 751 oldestRunningXid 752
";

    #[test]
    fn commits_with_their_subtransactions_and_no_others() {
        let mut branch = Branch::default();
        LINES.lines().for_each(|line| branch.read(line));
        assert_eq!(
            branch.commits.keys().copied().collect::<Vec<_>>(),
            [738, 740, 741, 742, 750, 751]
        );
        assert_eq!(branch.transactions, 3);
        assert_eq!(branch.commits[&742].time, "2026-11-22 01:39:25.000000 UTC");
        assert_eq!(branch.commits[&742].lsn, "0/03000260");
        assert_eq!(branch.last_commit.as_deref(), Some("0/030002A0"));
        assert_eq!(branch.deleted((5, 16385)), 1, "what was aborted deleted nothing");
        assert!(branch.touched.contains(&(5, 16390)));
        assert_eq!(branch.records, 9);
    }
}
