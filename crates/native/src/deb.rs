use std::{
    collections::BTreeSet,
    io::{self, Read, Seek, SeekFrom, Write},
};

use liblzma::{stream::MtStreamBuilder, write::XzEncoder};
use md5::{Digest, Md5};
use model::MachinePath;
use package::{Node, PackageReader};

use crate::{
    ExportError, Exported, Settings, System, control,
    entries::{Item, ItemFile, ItemNode},
    payload::FileReader,
    plan::{Plan, plan},
};

/// Bytes that are packed for themselves, so that several can be at once.
const BLOCK: u64 = 24 << 20;
/// Beyond, xz looks back farther than a block is long, and takes the memory for it.
const MOST: u32 = 6;

/// Writes a package as a .deb to `out`. `spool` holds the packed payload meanwhile; it must be empty.
///
/// # Errors
/// What a .deb cannot carry, all of it; a damaged package; an output that takes no more.
pub fn write_deb<R: Read + Seek>(
    package: &mut PackageReader<R>,
    spool: &mut (impl Read + Write + Seek),
    out: &mut impl Write,
    settings: Settings,
) -> Result<Exported, ExportError> {
    let plan = plan(package, System::Deb)?;
    let failed = ExportError::io(System::Deb.kind());
    let encoder = xz(&mut *spool, settings).map_err(&failed)?;
    let mut data = Data::new(encoder, plan.time);
    data.payload(package, &plan).map_err(&failed)?;
    data.documents(&plan).map_err(&failed)?;
    let files = data.files;
    let (sums, kib) = data.finish().map_err(&failed)?;
    let control = control_tar(&plan, &sums, kib, settings).map_err(&failed)?;
    let length = write_ar(out, &control, spool).map_err(&failed)?;
    Ok(Exported {
        file_name: plan.identity.file_name(System::Deb),
        remarks: plan.remarks,
        files,
        length,
    })
}

fn xz<W: Write>(out: W, settings: Settings) -> io::Result<XzEncoder<W>> {
    let stream = MtStreamBuilder::new()
        .threads(settings.workers.max(1))
        .block_size(BLOCK)
        .preset(settings.level.min(MOST))
        .check(liblzma::stream::Check::Crc64)
        .encoder()?;
    Ok(XzEncoder::new_stream(out, stream))
}

/// data.tar, being written.
struct Data<W: Write> {
    tar: Tar<W>,
    folders: BTreeSet<MachinePath>,
    sums: String,
    kib: u64,
    files: u64,
}

impl<W: Write> Data<XzEncoder<W>> {
    fn new(out: XzEncoder<W>, time: u64) -> Self {
        let tar = Tar { out: tar::Builder::new(out), time };
        Self { tar, folders: BTreeSet::new(), sums: String::new(), kib: 0, files: 0 }
    }

    fn payload<R: Read + Seek>(
        &mut self,
        package: &mut PackageReader<R>,
        plan: &Plan,
    ) -> io::Result<()> {
        let mut contents = package.contents();
        let mut position = 0;
        while let Some(record) = contents.next_record().map_err(io::Error::other)? {
            let item = plan.items.get(position).and_then(Option::as_ref);
            position += 1;
            let Some(item) = item else { continue };
            match (&item.node, &record.node) {
                (ItemNode::File(file), Node::File(content)) => {
                    let changes = file.changes.clone();
                    let reader = FileReader::new(&mut contents, content.length, changes);
                    self.file(item, file, reader)?;
                }
                _ => self.other(item, plan)?,
            }
        }
        Ok(())
    }

    fn file(&mut self, item: &Item, file: &ItemFile, reader: impl Read) -> io::Result<()> {
        self.parents(&item.path)?;
        let mut reader = Summed { reader, sum: Md5::new(), count: 0 };
        let header = self.tar.header(item, tar::EntryType::Regular, file.length);
        self.tar.entry(header, &item.path, None, &mut reader)?;
        if reader.count != file.length {
            return Err(io::Error::other(format!("`{}` is not as long as it was", item.path)));
        }
        self.sum(&item.path, reader.sum);
        self.kib += file.length.div_ceil(1024);
        self.files += 1;
        Ok(())
    }

    fn sum(&mut self, path: &MachinePath, sum: Md5) {
        for byte in sum.finalize() {
            self.sums.push_str(&format!("{byte:02x}"));
        }
        self.sums.push_str(&format!("  {}\n", String::from_utf8_lossy(path.relative())));
    }

    fn other(&mut self, item: &Item, plan: &Plan) -> io::Result<()> {
        let kind = match &item.node {
            ItemNode::Directory | ItemNode::Carrier => tar::EntryType::Directory,
            ItemNode::Symlink(_) => tar::EntryType::Symlink,
            ItemNode::HardLink(_) => tar::EntryType::Link,
            // Made by a script.
            ItemNode::File(_) | ItemNode::Fifo | ItemNode::Device { .. } => return Ok(()),
        };
        if kind == tar::EntryType::Directory && self.folders.contains(&item.path) {
            return Ok(());
        }
        self.parents(&item.path)?;
        let target = match &item.node {
            ItemNode::Symlink(target) => Some(target.clone()),
            ItemNode::HardLink(first) => {
                let first = plan.items.get(*first).and_then(Option::as_ref);
                first.map(|first| [b".", first.path.as_bytes()].concat())
            }
            _ => {
                self.folders.insert(item.path.clone());
                None
            }
        };
        let header = self.tar.header(item, kind, 0);
        self.tar.entry(header, &item.path, target.as_deref(), &mut io::empty())?;
        self.kib += 1;
        Ok(())
    }

    /// dpkg makes no folder that is not in the archive.
    fn parents(&mut self, path: &MachinePath) -> io::Result<()> {
        let mut above: Vec<MachinePath> = path.ancestors().collect();
        above.reverse();
        for folder in above {
            if self.folders.insert(folder.clone()) {
                let header = self.tar.made(tar::EntryType::Directory, 0o755, 0);
                self.tar.entry(header, &folder, None, &mut io::empty())?;
                self.kib += 1;
            }
        }
        Ok(())
    }

    /// What Debian's policy wants beside, unless the payload has it.
    fn documents(&mut self, plan: &Plan) -> io::Result<()> {
        let name = &plan.identity.name;
        let changelog = if plan.identity.version.contains('-') {
            "changelog.Debian.gz"
        } else {
            "changelog.gz"
        };
        let mut packed = flate2::GzBuilder::new().write(Vec::new(), flate2::Compression::best());
        packed.write_all(control::changelog(plan).as_bytes())?;
        let mut documents = vec![
            (format!("/usr/share/doc/{name}/{changelog}"), packed.finish()?),
            (format!("/usr/share/doc/{name}/copyright"), control::copyright(plan).into_bytes()),
        ];
        if let Some(text) = control::overrides(plan) {
            documents.push((format!("/usr/share/lintian/overrides/{name}"), text.into_bytes()));
        }
        for (path, bytes) in documents {
            let Ok(path) = MachinePath::new(path) else { continue };
            if plan.items.iter().flatten().any(|item| item.path == path) {
                continue;
            }
            self.parents(&path)?;
            let header = self.tar.made(tar::EntryType::Regular, 0o644, bytes.len() as u64);
            self.tar.entry(header, &path, None, &mut &*bytes)?;
            self.sum(&path, Md5::new_with_prefix(&bytes));
            self.kib += (bytes.len() as u64).div_ceil(1024);
        }
        Ok(())
    }

    fn finish(self) -> io::Result<(String, u64)> {
        self.tar.out.into_inner()?.finish()?;
        Ok((self.sums, self.kib))
    }
}

fn control_tar(plan: &Plan, sums: &str, kib: u64, settings: Settings) -> io::Result<Vec<u8>> {
    let mut tar = Tar {
        out: tar::Builder::new(xz(Vec::new(), Settings { workers: 1, ..settings })?),
        time: plan.time,
    };
    let mut configuration = String::new();
    for item in plan.items.iter().flatten().filter(|item| plan.is_configuration(item)) {
        configuration.push_str(&format!("{}\n", String::from_utf8_lossy(item.path.as_bytes())));
    }
    let activates: String = {
        let mut all = plan.phases.activates.clone();
        all.dedup();
        all.iter().map(|trigger| format!("activate-noawait {trigger}\n")).collect()
    };
    let mut files = vec![
        ("control", 0o644, control::control(plan, kib)),
        ("md5sums", 0o644, sums.to_owned()),
        ("conffiles", 0o644, configuration),
        ("triggers", 0o644, activates),
    ];
    for (name, text) in plan.phases.deb(&plan.identity.name) {
        files.push((name, 0o755, text));
    }
    let root = tar.made(tar::EntryType::Directory, 0o755, 0);
    tar.entry(root, &MachinePath::root(), None, &mut io::empty())?;
    for (name, mode, text) in files.into_iter().filter(|(_, _, text)| !text.is_empty()) {
        let header = tar.made(tar::EntryType::Regular, mode, text.len() as u64);
        let Ok(path) = MachinePath::new(format!("/{name}")) else { continue };
        tar.entry(header, &path, None, &mut text.as_bytes())?;
    }
    tar.out.into_inner()?.finish()
}

fn write_ar(
    out: &mut impl Write,
    control: &[u8],
    data: &mut (impl Read + Seek),
) -> io::Result<u64> {
    let data_length = data.seek(SeekFrom::End(0))?;
    data.seek(SeekFrom::Start(0))?;
    let mut archive = ar::Builder::new(out);
    let mut length = 8;
    let mut member = |name: &str, size: u64, bytes: &mut dyn Read| {
        let mut header = ar::Header::new(name.as_bytes().to_vec(), size);
        header.set_mode(0o100_644);
        length += 60 + size.next_multiple_of(2);
        archive.append(&header, bytes)
    };
    member("debian-binary", 4, &mut &b"2.0\n"[..])?;
    member("control.tar.xz", control.len() as u64, &mut &*control)?;
    member("data.tar.xz", data_length, data)?;
    Ok(length)
}

/// A tar file that says of everything just what it is told.
struct Tar<W: Write> {
    out: tar::Builder<W>,
    time: u64,
}

impl<W: Write> Tar<W> {
    fn header(&self, item: &Item, kind: tar::EntryType, size: u64) -> tar::Header {
        let is_root = |owner: &model::Owner| owner.to_string() == "root";
        let by_root = is_root(&item.meta.owner) && is_root(&item.meta.group);
        // Special bits only once the owner is right.
        let mode = if by_root { item.meta.mode } else { item.meta.mode & 0o1777 };
        let mut header = self.made(kind, mode, size);
        header.set_mtime(u64::try_from(item.meta.modified.seconds).unwrap_or(0));
        header
    }

    /// For something root owns.
    fn made(&self, kind: tar::EntryType, mode: u16, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode.into());
        header.set_mtime(self.time);
        header.set_size(size);
        header.set_uid(0);
        header.set_gid(0);
        let named = header.set_username("root").and_then(|()| header.set_groupname("root"));
        debug_assert!(named.is_ok(), "the name is short");
        header
    }

    fn entry(
        &mut self,
        mut header: tar::Header,
        path: &MachinePath,
        target: Option<&[u8]>,
        data: &mut dyn Read,
    ) -> io::Result<()> {
        let mut name = [b".", path.as_bytes()].concat();
        if header.entry_type().is_dir() && !path.is_root() {
            name.push(b'/');
        }
        if let Some(target) = target {
            self.long(b'K', target)?;
        }
        self.long(b'L', &name)?;
        if let Some(gnu) = header.as_gnu_mut() {
            for (field, bytes) in
                [(&mut gnu.name, &*name), (&mut gnu.linkname, target.unwrap_or_default())]
            {
                let length = bytes.len().min(field.len());
                field[..length].copy_from_slice(&bytes[..length]);
            }
        }
        header.set_cksum();
        self.out.append(&header, data)
    }

    /// A name the header has no room for goes before it.
    fn long(&mut self, kind: u8, name: &[u8]) -> io::Result<()> {
        if name.len() <= 100 {
            return Ok(());
        }
        let mut header = self.made(tar::EntryType::new(kind), 0o644, name.len() as u64 + 1);
        header.set_mtime(0);
        if let Some(gnu) = header.as_gnu_mut() {
            gnu.name[..13].copy_from_slice(b"././@LongLink");
        }
        header.set_cksum();
        self.out.append(&header, &mut name.chain(&b"\0"[..]))
    }
}

/// What is read, summed up on the way.
struct Summed<R> {
    reader: R,
    sum: Md5,
    count: u64,
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.sum.update(&buffer[..count]);
        self.count += count as u64;
        Ok(count)
    }
}
