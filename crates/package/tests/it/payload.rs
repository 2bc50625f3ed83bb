//! Payloads made by hand or by chance.

use std::{collections::BTreeMap, io::Cursor};

use model::{Architecture, Extent, Hash, Meta, PackageName, ReplaceRule, Template, Time, Version};
use package::{
    Action, Contents, FileContent, Header, NoRecall, Node, PackageReader, PackageWriter, Recall,
    Record, Settings, Step, Totals, Tree, Written,
};

/// A file of a payload, with all its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) path: Vec<u8>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) holes: Vec<Extent>,
}

pub(crate) fn file(path: &str, bytes: impl Into<Vec<u8>>) -> File {
    File { path: path.as_bytes().to_vec(), bytes: bytes.into(), holes: vec![] }
}

/// Bytes that do not pack, different for each seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32).to_le_bytes()[0]
        })
        .collect()
}

pub(crate) fn header() -> Header {
    Header {
        name: PackageName::new("sample").unwrap(),
        version: Version::new("1.0"),
        architecture: Architecture::Any,
        summary: "a package for tests".to_owned(),
        configuration: vec![],
        generated: vec![],
        variables: BTreeMap::new(),
        trees: vec![Tree {
            to: Template::literal("/opt/sample"),
            replace: ReplaceRule::Newer,
            version: None,
        }],
        steps: vec![Step { when: None, action: Action::Tree(0), users: None }],
        programs: BTreeMap::new(),
        totals: Totals::default(),
        export: None,
    }
}

/// Small frames, so that small payloads have several.
pub(crate) fn settings() -> Settings {
    Settings { level: 1, frame: 1 << 16, ..Settings::fast(2) }
}

/// Writes a package of a root folder and these files, sorted by the caller.
pub(crate) fn write(files: &[File], stub: &[u8], settings: Settings) -> (Written, Vec<u8>) {
    let mut writer = PackageWriter::new(Vec::new(), stub, settings).unwrap();
    let meta = |mode| Meta::of_root(mode, Time { seconds: 1_700_000_000, nanoseconds: 7 });
    let root = Record { tree: 0, path: vec![], node: Node::Directory, meta: meta(0o755) };
    writer.record(&root).unwrap();
    for file in files {
        let content = content(&mut writer, file);
        let node = Node::File(content);
        let record = Record { tree: 0, path: file.path.clone(), node, meta: meta(0o644) };
        writer.record(&record).unwrap();
    }
    writer.finish(header()).unwrap()
}

fn content(writer: &mut PackageWriter<Vec<u8>>, file: &File) -> FileContent {
    let length = file.bytes.len() as u64;
    let whole = model::Content { length, hash: None, holes: file.holes.clone() };
    let data: Vec<u8> = whole
        .data()
        .flat_map(|extent| {
            let start = usize::try_from(extent.offset).unwrap();
            file.bytes[start..start + usize::try_from(extent.length).unwrap()].to_vec()
        })
        .collect();
    let content =
        writer.content(0, &file.path, length, file.holes.clone(), &mut Cursor::new(data)).unwrap();
    assert_eq!(content.hash, Hash::of(&file.bytes));
    content
}

pub(crate) fn open(bytes: &[u8]) -> PackageReader<Cursor<&[u8]>> {
    PackageReader::open(Cursor::new(bytes)).unwrap()
}

/// Reads all files back, with nobody to ask for what repeats.
pub(crate) fn read(bytes: &[u8]) -> Vec<File> {
    let mut package = open(bytes);
    package.verify(&mut |_, _| {}).unwrap();
    let mut contents = package.contents();
    let mut files = Vec::new();
    while let Some(record) = contents.next_record().unwrap() {
        files.extend(read_file(&mut contents, &record, &mut NoRecall));
    }
    files
}

pub(crate) fn read_file<R: std::io::Read + std::io::Seek>(
    contents: &mut Contents<'_, R>,
    record: &Record,
    recall: &mut dyn Recall,
) -> Option<File> {
    let Node::File(content) = &record.node else { return None };
    let mut bytes = vec![0; usize::try_from(content.length).unwrap()];
    while let Some(piece) = contents.piece(recall).unwrap() {
        let start = usize::try_from(piece.offset).unwrap();
        bytes[start..start + piece.data.len()].copy_from_slice(piece.data);
    }
    assert_eq!(Hash::of(&bytes), content.hash);
    Some(File { path: record.path.clone(), bytes, holes: content.holes.clone() })
}
