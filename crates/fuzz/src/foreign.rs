//! What comes from distribution points, and packages of other systems.

use std::{convert::Infallible, io, io::Cursor, io::Read as _};

use content::{Catalogue, Data, DeltaReader, Index, OutlineNode, Release};
use deployment::{ClientId, InventoryReport, PolicyDocument};
use model::Hash;
use policy::SiteCode;
use running::{Parcel, write_parcel};
use trust::{PublicKey, SigningKey, Trusted, Want};

/// A root that is pinned, and to whose repository the corpus belongs.
const ROOT: &[u8] = include_bytes!("../corpus/trust/1.root.json");
/// A damaged length must not be believed.
const MOST: u64 = 1 << 20;

/// An index: what is read is written again as it was.
pub(crate) fn index(bytes: &[u8]) {
    if let Ok(index) = Index::parse(bytes) {
        assert_eq!(Index::parse(&index.to_bytes()).ok(), Some(index), "written and read again");
    }
}

/// A registry hive below its sum, and the same bytes as the log of one.
pub(crate) fn hive(bytes: &[u8]) {
    let Some(head) = bytes.get(..512) else { return };
    let sealed = |kind: u32, second: u32| {
        let mut whole = [head, &bytes[512..]].concat();
        whole[8..12].copy_from_slice(&second.to_le_bytes());
        whole[28..32].copy_from_slice(&kind.to_le_bytes());
        testkit::seal_hive(&mut whole);
        whole
    };
    let top = model::RegistryKey::new(r"HKLM\SYSTEM");
    let read = |file: &[u8], logs: &[&[u8]]| {
        if let (Ok(hive), Ok(top)) = (capture::Hive::open(file, logs), &top) {
            let mut registry = capture::Registry::default();
            if let Ok(unsaid) = registry.add_hive(top, &hive) {
                assert!(unsaid.len() <= bytes.len(), "no more is said than there is");
            }
        }
    };
    let first = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    read(&sealed(0, first), &[]);
    read(&sealed(0, first.wrapping_add(1)), &[&sealed(6, first)]);
}

/// A manifest, with everything its parts say of each other.
pub(crate) fn manifest(bytes: &[u8]) {
    // The identity of its release stands before it, so that what is whole is read to its end.
    let Some((identity, part)) = bytes.split_at_checked(64) else { return };
    let identity = std::str::from_utf8(identity).ok().and_then(|text| text.parse::<Hash>().ok());
    if let Ok(catalogue) = Catalogue::open(vec![part.to_vec()], identity.unwrap_or(Hash::of(b""))) {
        drop(catalogue.entries().collect::<Vec<_>>());
    }
}

/// Indexes, releases and manifests below their checksums.
pub(crate) fn release(bytes: &[u8]) {
    if let Ok(index) = minicbor::decode::<Index>(bytes) {
        let again = Index::parse(&index.to_bytes());
        assert_eq!(again.ok(), Some(index), "written and read again");
    }
    if let Ok(release) = minicbor::decode::<Release>(bytes) {
        assert!(release.objects().count() > 0);
    }
}

/// A delta, followed over a base of a few bytes.
pub(crate) fn delta(bytes: &[u8]) {
    let base = [7_u8; 4096];
    let mut read_base = |at: u64, buffer: &mut [u8]| {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let end = at.checked_add(buffer.len());
        let piece = end.and_then(|end| base.get(at..end));
        buffer.copy_from_slice(piece.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    };
    let Ok(mut reader) = DeltaReader::open(bytes) else { return };
    let mut left = MOST;
    while let Ok(Some(outline)) = reader.next_outline(&[]) {
        let OutlineNode::File { length, data: Data::Made(lane), .. } = outline.node else {
            continue;
        };
        let Ok(data) = reader.data(lane, length, &mut read_base) else { return };
        let Ok(read) = io::copy(&mut data.take(left), &mut io::sink()) else { return };
        left -= read;
        if left == 0 {
            return;
        }
    }
}

/// A policy document as it came, and with a hash that fits, below its checksum.
pub(crate) fn policy(bytes: &[u8]) {
    let Ok(site) = SiteCode::new("HQ") else { return };
    let client = ClientId(std::array::from_fn(|at| u8::try_from(at).unwrap_or(0)));
    let _ = PolicyDocument::read(bytes, client, &site);
    let (Some(head), Some(body)) = (bytes.get(..12), bytes.get(44..)) else { return };
    let fitting = [head, &Hash::of(body).0, body].concat();
    let _ = deployment::content_of(&fitting);
    if let Ok(document) = PolicyDocument::read(&fitting, client, &site) {
        let again = PolicyDocument::read(&document.write(), client, &site);
        let again = again.map(|again| (again.deployments, again.windows));
        assert_eq!(
            again.ok(),
            Some((document.deployments, document.windows)),
            "written and read again"
        );
    }
}

/// A parcel of messages as it came; what of it cannot be read harms no other.
pub(crate) fn parcel(bytes: &[u8]) {
    if let Ok(parcel) = Parcel::read(bytes) {
        let readable: Vec<_> =
            parcel.messages.into_iter().filter_map(|(_, message)| message.ok()).collect();
        let again = Parcel::read(&write_parcel(&readable)).ok();
        let again = again.map(|again| again.messages.into_iter().filter_map(|(_, one)| one.ok()));
        assert_eq!(
            again.map(Iterator::collect::<Vec<_>>),
            Some(readable),
            "written and read again"
        );
    }
}

/// An inventory's report as it came, and below its checksum.
pub(crate) fn inventory(bytes: &[u8]) {
    drop(InventoryReport::read(bytes));
    if let Ok(report) = minicbor::decode::<InventoryReport>(bytes) {
        assert_eq!(
            InventoryReport::read(&report.write()).ok(),
            Some(report),
            "written and read again"
        );
    }
}

/// A .deb of whoever made it.
pub(crate) fn deb(bytes: &[u8]) {
    drop(native::read_deb(bytes));
}

/// An .rpm of whoever made it.
pub(crate) fn rpm(bytes: &[u8]) {
    drop(native::read_rpm(&mut Cursor::new(bytes)));
}

/// Trust metadata as a root, as what was saved, as a timestamp, and as everything else a point could offer; keys.
pub(crate) fn trust_metadata(bytes: &[u8]) {
    drop(Trusted::pinned(bytes, None));
    for file in ["trust/timestamp.json", "trust/2.root.json"] {
        let Ok(mut trusted) = Trusted::pinned(ROOT, Some(bytes)) else { return };
        let mut read = |path: &str, _: u64| {
            let has = path == file || !path.contains("root");
            Ok::<_, Infallible>(has.then(|| bytes.to_vec()))
        };
        if let Ok(verified) = trust::update(&mut trusted, None, Want::Everything, &mut read) {
            drop(verified.all_releases());
            drop(verified.status());
        }
        assert!(Trusted::pinned(ROOT, Some(&trusted.to_bytes())).is_ok(), "saved and read again");
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        drop(SigningKey::read(text, None));
        drop(PublicKey::read(text, None));
    }
}
