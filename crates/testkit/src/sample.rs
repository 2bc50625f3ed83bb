use std::{collections::BTreeMap, io::Cursor};

use model::{
    Architecture, Extent, Meta, PackageName, ReplaceRule, Template, Time, Variable, Version,
};
use package::{
    Action, Form, Header, Node, PackageReader, PackageWriter, Record, Settings, Step, Substitution,
    Totals, Tree,
};

/// Records by tree and parts of their path, each with its content.
type Records = BTreeMap<(u32, Vec<Vec<u8>>), (Record, Vec<u8>)>;

/// A package made by hand, in memory.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What it is and does.
    pub header: Header,
    records: Records,
    /// What whole files become, by the same key.
    formed: BTreeMap<(u32, Vec<Vec<u8>>), Template>,
}

impl Sample {
    /// An empty package.
    pub fn new(name: &str, version: &str) -> Self {
        let header = Header {
            name: PackageName::new(name).expect("a package name"),
            version: Version::new(version),
            architecture: Architecture::Any,
            summary: String::new(),
            configuration: Vec::new(),
            generated: Vec::new(),
            variables: BTreeMap::new(),
            trees: Vec::new(),
            steps: Vec::new(),
            programs: BTreeMap::new(),
            totals: Totals::default(),
            export: None,
        };
        Self { header, records: BTreeMap::new(), formed: BTreeMap::new() }
    }

    /// The metadata samples have unless they say otherwise: root's, at a fixed time.
    pub fn meta(mode: u16) -> Meta {
        Meta::of_root(mode, Time { seconds: 1_700_000_000, nanoseconds: 123_456_789 })
    }

    /// Adds a tree that goes to `to`, and the step that installs it.
    pub fn tree(&mut self, to: &str) -> u32 {
        self.versioned_tree(to, None)
    }

    /// As [`tree`](Self::tree), its files having a version.
    pub fn versioned_tree(&mut self, to: &str, version: Option<&str>) -> u32 {
        let index = u32::try_from(self.header.trees.len()).expect("few trees");
        self.header.trees.push(Tree {
            to: to.parse().expect("a template"),
            replace: ReplaceRule::Newer,
            version: version.map(Version::new),
        });
        self.step(Action::Tree(index));
        index
    }

    /// Adds a step.
    pub fn step(&mut self, action: Action) {
        self.header.steps.push(Step { when: None, action, users: None });
    }

    /// Adds a variable with a default.
    pub fn variable(&mut self, name: &str, default: &str) {
        let variable =
            Variable { default: Some(Template::literal(default)), prompt: None, fixed: None };
        self.header.variables.insert(name.into(), variable);
    }

    /// Adds an entry that is no regular file.
    pub fn node(&mut self, tree: u32, path: &str, node: Node, meta: Meta) {
        let record = Record { tree, path: path.as_bytes().to_vec(), node, meta };
        self.records.insert(key(tree, path), (record, Vec::new()));
    }

    /// Adds a folder.
    pub fn directory(&mut self, tree: u32, path: &str) {
        self.node(tree, path, Node::Directory, Self::meta(0o755));
    }

    /// Adds a regular file.
    pub fn file(&mut self, tree: u32, path: &str, content: &[u8]) {
        self.file_with(tree, path, content, Self::meta(0o644));
    }

    /// Adds a regular file with its metadata.
    pub fn file_with(&mut self, tree: u32, path: &str, content: &[u8], meta: Meta) {
        let record = Record { tree, path: path.as_bytes().to_vec(), node: Node::Directory, meta };
        self.records.insert(key(tree, path), (record, [&[1], content].concat()));
    }

    /// Adds a shortcut of Windows: its text, as [`model::Shortcut::to_text`] writes it, with variables.
    pub fn shortcut(&mut self, tree: u32, path: &str, text: Template) {
        self.file(tree, path, b"a shortcut");
        self.formed.insert(key(tree, path), text);
    }

    /// The package as bytes.
    pub fn bytes(&self) -> Vec<u8> {
        self.installer(&[])
    }

    /// The package behind the program `stub`.
    pub fn installer(&self, stub: &[u8]) -> Vec<u8> {
        self.packed(stub, Settings::fast(1))
    }

    /// The package behind a program, packed like that.
    pub fn packed(&self, stub: &[u8], settings: Settings) -> Vec<u8> {
        let mut writer = PackageWriter::new(Vec::new(), stub, settings).expect("memory takes all");
        for (place, (record, content)) in &self.records {
            let mut record = record.clone();
            if let Some((1, content)) = content.split_first() {
                let length = content.len() as u64;
                let file =
                    writer.content(record.tree, &record.path, length, Vec::new(), &mut &*content);
                let mut file = file.expect("content of its length");
                if let Some(text) = self.formed.get(place) {
                    let range = Extent { offset: 0, length };
                    let form = Some(Form::Shortcut);
                    file.substitutions = vec![Substitution { range, with: text.clone(), form }];
                }
                record.node = Node::File(file);
            }
            writer.record(&record).expect("records in order");
        }
        writer.finish(self.header.clone()).expect("memory takes all").1
    }

    /// The package, opened.
    pub fn open(&self) -> PackageReader<Cursor<Vec<u8>>> {
        PackageReader::open(Cursor::new(self.bytes())).expect("a whole package")
    }
}

fn key(tree: u32, path: &str) -> (u32, Vec<Vec<u8>>) {
    (
        tree,
        path.split('/')
            .filter(|part| !part.is_empty())
            .map(|part| part.as_bytes().to_vec())
            .collect(),
    )
}
