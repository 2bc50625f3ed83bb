use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use model::{Hash, Kind, Meta, Template, Time, escape};
use package::{
    Action, FileContent, Header, Node, PackageWriter, Record, Settings, Step, Substitution, Totals,
    Tree, Written,
};
use script::{StepKind, TreeSource, TreeStep};

use crate::{
    CompileError,
    patterns::Patterns,
    payload::{Found, FoundKind, Walk, refuse},
    platform,
    project::Project,
    sparse::{self, DataReader},
    stub,
    substitute::Replacements,
    windows,
};

/// What comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A program that installs.
    Installer,
    /// The package alone.
    Package,
}

/// The machines an installer runs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// x86-64 Linux.
    #[default]
    Linux,
    /// x86-64 Windows.
    Windows,
}

/// How to compile.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What comes out.
    pub format: Format,
    /// What an installer runs on.
    pub target: Target,
    /// How it is packed.
    pub settings: Settings,
    /// The time of files `files.meta` says nothing about; never the checkout's.
    pub time: Time,
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// The package's name and version.
    pub package: String,
    /// The package.
    pub written: Written,
    /// Payload entries that `except` patterns left out.
    pub excluded: u64,
}

/// Compiles the project in `folder` into the file `output`, which is replaced once all is well.
/// `progress` hears of the bytes of payload read so far.
pub fn compile(
    folder: &Path,
    output: &Path,
    options: &Options,
    progress: &mut dyn FnMut(u64),
) -> Result<Compiled, CompileError> {
    let project = Project::open(folder)?;
    let unwritable = |source| CompileError::Write { path: output.to_owned(), source };
    let into = output.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let temporary =
        tempfile::Builder::new().prefix(".packhorse-").tempfile_in(into).map_err(unwritable)?;
    let (stub, mode) = match options.format {
        Format::Installer => match options.target {
            Target::Linux => (stub().to_vec(), 0o755),
            Target::Windows => (windows::stub_of(&project)?, 0o755),
        },
        Format::Package => (Vec::new(), 0o644),
    };
    let file = temporary.as_file().try_clone().map_err(unwritable)?;
    let out = BufWriter::with_capacity(1 << 20, file);
    let writer = PackageWriter::new(out, &stub, options.settings)?;
    let mut compilation = Compilation::new(&project, writer, options, progress);
    let mut header = compilation.steps()?;
    if options.format == Format::Installer && options.target == Target::Windows {
        compilation.list_among_programs(&stub, &mut header)?;
    }
    let excluded = compilation.excluded;
    let (written, out) = compilation.writer.finish(header)?;
    out.into_inner()
        .map_err(|error| unwritable(error.into_error()))?
        .flush()
        .map_err(unwritable)?;
    let file = temporary.as_file();
    platform::set_mode(file, mode).map_err(unwritable)?;
    file.sync_all().map_err(unwritable)?;
    temporary.persist(output).map_err(|error| unwritable(error.error))?;
    let package = format!("{} {}", project.script.name, project.script.version);
    Ok(Compiled { package, written, excluded })
}

/// What a project's package is called, `redis-7.2.4`, for the name of a file.
pub fn full_name(folder: &Path) -> Result<String, CompileError> {
    let project = Project::open(folder)?;
    let version = project.script.version.as_str().replace(['/', '\0'], "_");
    Ok(format!("{}-{version}", project.script.name))
}

struct Compilation<'a, W> {
    project: &'a Project,
    writer: PackageWriter<W>,
    options: &'a Options,
    progress: &'a mut dyn FnMut(u64),
    done: u64,
    excluded: u64,
    trees: Vec<Tree>,
    links: HardLinks,
}

/// Files with several names: the first that comes is the file, the others are links to it.
struct HardLinks {
    /// Project paths other lines of `files.meta` link to.
    targets: BTreeSet<Vec<u8>>,
    /// By such a path, what was written of it.
    written: BTreeMap<Vec<u8>, LinkedFile>,
}

/// A file with several names: which project paths were written, and where the first of them went.
struct LinkedFile {
    names: BTreeSet<Vec<u8>>,
    tree: u32,
    path: Vec<u8>,
}

impl<'a, W: Write> Compilation<'a, W> {
    fn new(
        project: &'a Project,
        writer: PackageWriter<W>,
        options: &'a Options,
        progress: &'a mut dyn FnMut(u64),
    ) -> Self {
        let targets = project
            .metas()
            .iter()
            .filter_map(|meta| match &meta.entry.kind {
                Kind::HardLink(target) => Some(target.relative().to_vec()),
                _ => None,
            })
            .collect();
        let links = HardLinks { targets, written: BTreeMap::new() };
        let trees = Vec::new();
        Self { project, writer, options, progress, done: 0, excluded: 0, trees, links }
    }

    /// Goes through the steps: trees into the manifest, everything into the header.
    fn steps(&mut self) -> Result<Header, CompileError> {
        let script = &self.project.script;
        let mut steps = Vec::with_capacity(script.steps.len());
        for (index, step) in script.steps.iter().enumerate() {
            let action = match &step.kind {
                StepKind::Tree(tree) => Action::Tree(self.tree(index + 1, tree)?),
                StepKind::Remove { path } => Action::Remove { path: path.clone() },
                StepKind::SetMetadata { path, meta } => {
                    Action::SetMetadata { path: path.clone(), meta: meta.clone() }
                }
                StepKind::Edit(edit) => Action::Edit(edit.clone()),
                StepKind::Account(account) => Action::Account(account.clone()),
                StepKind::Service(service) => Action::Service(service.clone()),
                StepKind::Registry(step) => Action::Registry(step.clone()),
                StepKind::Setup(setup) => Action::Setup(setup.clone()),
                StepKind::Task(task) => Action::Task(task.clone()),
                StepKind::Library(library) => Action::Library(library.clone()),
                StepKind::Alternative(alternative) => Action::Alternative(alternative.clone()),
                StepKind::Trigger { name } => Action::Trigger(name.clone()),
                StepKind::Run(run) => Action::Run(run.clone()),
            };
            let users = (!step.users.is_empty()).then(|| step.users.clone());
            steps.push(Step { when: step.when.clone(), action, users });
        }
        Ok(Header {
            name: script.name.clone(),
            version: script.version.clone(),
            architecture: script.architecture.clone(),
            summary: script.summary.clone(),
            configuration: script.configuration.clone(),
            generated: script.generated.clone(),
            variables: script.variables.clone(),
            trees: std::mem::take(&mut self.trees),
            steps,
            programs: script.programs.clone(),
            totals: Totals::default(),
            export: (!script.export.is_empty()).then(|| Box::new(script.export.clone())),
        })
    }

    /// Adds what takes the package off a Windows machine, and says so where people look for it.
    fn list_among_programs(
        &mut self,
        stub: &[u8],
        header: &mut Header,
    ) -> Result<(), CompileError> {
        let (script, time) = (&self.project.script, self.options.time);
        let trees = &mut header.trees;
        let steps = windows::uninstaller(script, stub, self.done, time, &mut self.writer, trees)?;
        header.steps.extend(steps);
        Ok(())
    }

    /// Writes the records of a tree step; gives its tree's number.
    fn tree(&mut self, step: usize, tree: &TreeStep) -> Result<u32, CompileError> {
        let number = u32::try_from(self.trees.len()).unwrap_or(u32::MAX);
        self.trees.push(Tree {
            to: tree.to.clone(),
            replace: tree.replace,
            version: tree.version.clone(),
        });
        let mut walk = Walk {
            project: self.project,
            step,
            except: Patterns::new(step, &tree.except)?,
            time: self.options.time,
            excluded: 0,
        };
        let replacements = Replacements::new(step, &tree.replacements)?;
        let mut take = |found| self.take(number, found, &replacements);
        match &tree.source {
            TreeSource::Tree(source) => walk.tree(source, &mut take)?,
            TreeSource::File(source) => walk.file(source, &mut take)?,
            TreeSource::Directory(meta) => self.made(number, Node::Directory, meta)?,
            TreeSource::Link { target, meta } => {
                self.made(number, Node::Symlink(target.clone()), meta)?;
            }
            TreeSource::Shortcut(shortcut) => {
                let content = windows::shortcut(shortcut, number, &mut self.writer)?;
                self.made(number, Node::File(content), &shortcut.meta)?;
            }
        }
        self.excluded += walk.excluded;
        Ok(number)
    }

    fn made(&mut self, tree: u32, node: Node, meta: &Meta) -> Result<(), CompileError> {
        let record = Record { tree, path: Vec::new(), node, meta: meta.clone() };
        Ok(self.writer.record(&record)?)
    }

    fn take(
        &mut self,
        tree: u32,
        found: Found,
        replacements: &Replacements<'_>,
    ) -> Result<(), CompileError> {
        let Found { path, project_path, kind, meta } = found;
        let node = match kind {
            FoundKind::Directory => Node::Directory,
            FoundKind::Carrier => Node::Carrier,
            FoundKind::Symlink(target) => Node::Symlink(match replacements.for_file(&path) {
                Some(scanner) => scanner.template(&target),
                None => Template::literal(target),
            }),
            FoundKind::Fifo => Node::Fifo,
            FoundKind::CharacterDevice { major, minor } => Node::CharacterDevice { major, minor },
            FoundKind::BlockDevice { major, minor } => Node::BlockDevice { major, minor },
            FoundKind::HardLink(target) => {
                let on_disk = self.project.on_disk(&target);
                let (length, holes) = self.linked(&project_path, &target, &on_disk)?;
                let kind = (on_disk, length, holes);
                self.named_file(tree, &path, &project_path, &target, kind, replacements)?
            }
            FoundKind::File { on_disk, length, holes } => {
                let kind = (on_disk, length, holes);
                if self.links.targets.contains(&project_path) {
                    let target = project_path.clone();
                    self.named_file(tree, &path, &project_path, &target, kind, replacements)?
                } else {
                    Node::File(self.content(tree, &path, &project_path, kind, replacements)?)
                }
            }
        };
        Ok(self.writer.record(&Record { tree, path, node, meta })?)
    }

    /// The length and holes of the file a hard link of the project names.
    fn linked(
        &self,
        project_path: &[u8],
        target: &[u8],
        on_disk: &Path,
    ) -> Result<(u64, Vec<model::Extent>), CompileError> {
        let holes = match self.project.meta(target).map(|entry| &entry.kind) {
            Some(Kind::File(content)) => content.holes.clone(),
            None => Vec::new(),
            Some(other) => {
                let reason = format!("links to `{}`, a {}", escape(target), other.word());
                return Err(refuse(project_path, reason));
            }
        };
        match fs::symlink_metadata(on_disk) {
            Ok(metadata) if metadata.is_file() => Ok((metadata.len(), holes)),
            _ => {
                let reason =
                    format!("links to `{}`, which is no file of the project", escape(target));
                Err(refuse(project_path, reason))
            }
        }
    }

    /// A file with several names: the content the first time, a link from then on.
    fn named_file(
        &mut self,
        tree: u32,
        path: &[u8],
        project_path: &[u8],
        target: &[u8],
        file: (PathBuf, u64, Vec<model::Extent>),
        replacements: &Replacements<'_>,
    ) -> Result<Node, CompileError> {
        if let Some(first) = self.links.written.get_mut(target)
            && first.names.insert(project_path.to_vec())
        {
            return Ok(Node::HardLink { tree: first.tree, path: first.path.clone() });
        }
        // Not written yet, or this very name was: then the files are installed once more, elsewhere.
        let names = BTreeSet::from([project_path.to_vec()]);
        self.links.written.insert(target.to_vec(), LinkedFile { names, tree, path: path.to_vec() });
        Ok(Node::File(self.content(tree, path, project_path, file, replacements)?))
    }

    fn content(
        &mut self,
        tree: u32,
        path: &[u8],
        project_path: &[u8],
        (on_disk, length, holes): (PathBuf, u64, Vec<model::Extent>),
        replacements: &Replacements<'_>,
    ) -> Result<FileContent, CompileError> {
        let unreadable = |source| CompileError::Read { path: on_disk.clone(), source };
        if length == 0 {
            let hash = Hash::of(b"");
            return Ok(FileContent { length, hash, holes, chunks: vec![], substitutions: vec![] });
        }
        let file = File::open(&on_disk).map_err(unreadable)?;
        if !sparse::are_empty(&file, &holes).map_err(unreadable)? {
            return Err(refuse(project_path, "has data where `files.meta` says it has holes"));
        }
        let substitutions: Vec<Substitution> = match replacements.for_file(path) {
            Some(scanner) => {
                scanner.scan(DataReader::new(&file, length, &[])).map_err(unreadable)?
            }
            None => Vec::new(),
        };
        if !substitutions.is_empty() && !holes.is_empty() {
            let reason = "has holes and text to replace; take it out of `replace-text`";
            return Err(refuse(project_path, reason));
        }
        let data = &mut DataReader::new(&file, length, &holes);
        let mut content = self.writer.content(tree, path, length, holes, data)?;
        content.substitutions = substitutions;
        self.done += content.data_length();
        (self.progress)(self.done);
        Ok(content)
    }
}
