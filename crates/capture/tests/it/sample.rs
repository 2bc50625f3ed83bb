use capture::{Node, Record, Stamp};
use model::{Content, Extent, Hash, Kind, MachinePath, Time};
use proptest::{collection, option, prelude::*};

pub(crate) fn path(text: &str) -> MachinePath {
    text.parse().unwrap()
}

pub(crate) fn time(seconds: i64) -> Time {
    Time { seconds, nanoseconds: 7 }
}

/// A file of root's that last changed at `changed`.
pub(crate) fn file(at: &str, length: u64, inode: u64, changed: i64) -> Record {
    let content = Content { length, hash: None, holes: Vec::new() };
    Record {
        path: path(at),
        node: Node {
            kind: Kind::File(content),
            mode: 0o644,
            uid: 0,
            gid: 0,
            modified: time(100),
            xattrs: [].into(),
        },
        stamp: Stamp { device: 1, inode, changed: time(changed), links: 1 },
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    let content = (any::<u64>(), option::of(any::<[u8; 32]>()), 0..3_u64).prop_map(
        |(length, hash, holes)| Content {
            length,
            hash: hash.map(Hash),
            holes: (0..holes).map(|n| Extent { offset: n * 9000, length: 1 + n }).collect(),
        },
    );
    prop_oneof![
        Just(Kind::Directory),
        content.prop_map(Kind::File),
        collection::vec(1_u8.., 0..20).prop_map(Kind::Symlink),
        "/[a-z]{1,4}(/[a-z]{1,4})?".prop_map(|text| Kind::HardLink(path(&text))),
        Just(Kind::Fifo),
        Just(Kind::Socket),
        any::<(u32, u32)>().prop_map(|(major, minor)| Kind::CharacterDevice { major, minor }),
        any::<(u32, u32)>().prop_map(|(major, minor)| Kind::BlockDevice { major, minor }),
    ]
}

prop_compose! {
    pub(crate) fn record()(
        name in collection::vec(b'a'..=b'f', 0..6),
        kind in kind(),
        (mode, uid, gid) in (0..0o10000_u16, any::<u32>(), any::<u32>()),
        (seconds, other, nanoseconds) in (any::<i64>(), any::<i64>(), 0..1_000_000_000_u32),
        one_time in any::<bool>(),
        (device, inode, links) in any::<(u64, u64, u32)>(),
        xattrs in collection::btree_map(
            collection::vec(1_u8.., 1..8).prop_map(Vec::into_boxed_slice),
            collection::vec(any::<u8>(), 0..8).prop_map(Vec::into_boxed_slice),
            0..2,
        ),
    ) -> Record {
        let mut full = b"/".to_vec();
        full.extend(name.iter().flat_map(|&byte| [byte, b'/']));
        let modified = Time { seconds, nanoseconds };
        let changed = if one_time { modified } else { Time { seconds: other, nanoseconds } };
        Record {
            path: MachinePath::new(full).unwrap(),
            node: Node { kind, mode, uid, gid, modified, xattrs },
            stamp: Stamp { device, inode, changed, links },
        }
    }
}
