use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read, Seek, SeekFrom, Write},
};

use model::{MachinePath, Meta, Time};
use package::{Node, PackageReader};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::{
    cpio::{Archive, Head},
    header::{Header, Value},
    tags,
};
use crate::{
    ExportError, Exported, Remark, Settings, System, capabilities, control,
    entries::{Item, ItemNode},
    payload::FileReader,
    plan::{Plan, plan},
};

/// Folders every system has; no package of ours owns them.
const STANDARD: &[&str] = &[
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/etc/cron.d",
    "/etc/default",
    "/etc/init.d",
    "/etc/ld.so.conf.d",
    "/etc/logrotate.d",
    "/etc/profile.d",
    "/etc/sysctl.d",
    "/etc/systemd",
    "/etc/systemd/system",
    "/etc/tmpfiles.d",
    "/home",
    "/lib",
    "/lib/systemd",
    "/lib/systemd/system",
    "/lib64",
    "/media",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/usr/bin",
    "/usr/include",
    "/usr/lib",
    "/usr/lib/systemd",
    "/usr/lib/systemd/system",
    "/usr/lib/sysusers.d",
    "/usr/lib/tmpfiles.d",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/local",
    "/usr/local/bin",
    "/usr/local/lib",
    "/usr/local/sbin",
    "/usr/local/share",
    "/usr/sbin",
    "/usr/share",
    "/usr/share/applications",
    "/usr/share/bash-completion",
    "/usr/share/bash-completion/completions",
    "/usr/share/doc",
    "/usr/share/icons",
    "/usr/share/icons/hicolor",
    "/usr/share/info",
    "/usr/share/man",
    "/usr/share/man/man1",
    "/usr/share/man/man5",
    "/usr/share/man/man8",
    "/usr/share/mime",
    "/usr/src",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/lock",
    "/var/log",
    "/var/opt",
    "/var/run",
    "/var/spool",
    "/var/tmp",
];

/// `%config(noreplace)`.
const CONFIGURATION: u32 = 1 | 1 << 4;
const LESS: u32 = 1 << 1;
const GREATER: u32 = 1 << 2;
const EQUAL: u32 = 1 << 3;
const OF_SCRIPT: u32 = 1 << 8;
const OF_PRE: u32 = 1 << 9;
const OF_POST: u32 = 1 << 10;
const OF_PREUN: u32 = 1 << 11;
const OF_POSTUN: u32 = 1 << 12;
const OF_RPM: u32 = 1 << 24;

/// Writes a package as an .rpm to `out`. `spool` holds the packed payload meanwhile; it must be empty.
///
/// # Errors
/// What an .rpm cannot carry, all of it; a damaged package; an output that takes no more.
pub fn write_rpm<R: Read + Seek>(
    package: &mut PackageReader<R>,
    spool: &mut (impl Read + Write + Seek),
    out: &mut impl Write,
    settings: Settings,
) -> Result<Exported, ExportError> {
    let mut plan = plan(package, System::Rpm)?;
    let failed = ExportError::io(System::Rpm.kind());
    let mut files = Files::of(&mut plan);
    let level = i32::try_from(settings.level.clamp(1, 19)).unwrap_or(19);
    let hashed = Hashed { out: &mut *spool, hash: Sha256::new() };
    let mut encoder = zstd::Encoder::new(hashed, level).map_err(&failed)?;
    encoder.window_log(23).map_err(&failed)?;
    let archive = Archive::new(encoder, files.are_long);
    let archive = files.payload(package, archive).map_err(&failed)?;
    let (encoder, archive_length) = archive.finish().map_err(&failed)?;
    let payload_hash = encoder.finish().map_err(&failed)?.hash;
    let mut header = header(&plan, &files, level);
    header.set(tags::PAYLOAD_DIGEST, Value::texts([hex(&payload_hash.finalize())]));
    header.set(tags::PAYLOAD_DIGEST_ALGORITHM, Value::Numbers(vec![8]));
    let header = header.bytes();
    let length = finish(out, &plan, &header, spool, archive_length).map_err(&failed)?;
    let regular = files.all.iter().filter(|file| matches!(file.item.node, ItemNode::File(_)));
    Ok(Exported {
        file_name: plan.identity.file_name(System::Rpm),
        files: regular.count() as u64,
        remarks: plan.remarks,
        length,
    })
}

/// The entries of the payload, sorted by path as rpm wants them.
struct Files {
    all: Vec<Packed>,
    /// By position among the records, the position here.
    at: BTreeMap<usize, usize>,
    /// By position of the record that is the file, the positions here of all its names.
    links: BTreeMap<usize, Vec<usize>>,
    /// Whether a file is too long for ordinary headers.
    are_long: bool,
}

struct Packed {
    item: Item,
    /// Its position among the records; none for a folder that is only on the way.
    record: Option<usize>,
    /// The record that has a file's content: its own, but for hard links.
    content: Option<usize>,
    length: u64,
    digest: String,
    configuration: bool,
}

impl Files {
    fn of(plan: &mut Plan) -> Self {
        let mut all: Vec<Packed> = Vec::new();
        let mut remarks = Vec::new();
        for (record, item) in plan.items.iter().enumerate() {
            let Some(item) = item else { continue };
            if is_standard(&item.path) && item.node == ItemNode::Directory {
                let text =
                    format!("`{}` belongs to the system, which says its mode and owner", item.path);
                remarks.push(Remark::new(item.step, text));
            }
            all.extend(Packed::of(plan, record, item));
        }
        plan.remarks.extend(remarks);
        all.extend(on_the_way(&all, plan.time));
        all.sort_by(|one, other| one.item.path.as_bytes().cmp(other.item.path.as_bytes()));
        let mut links: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let mut at = BTreeMap::new();
        for (here, file) in all.iter().enumerate() {
            at.extend(file.record.map(|record| (record, here)));
            if let Some(content) = file.content {
                links.entry(content).or_default().push(here);
            }
        }
        let are_long = all.iter().any(|file| file.length > u64::from(u32::MAX));
        Self { all, at, links, are_long }
    }

    fn payload<R: Read + Seek, W: Write>(
        &mut self,
        package: &mut PackageReader<R>,
        mut archive: Archive<W>,
    ) -> io::Result<Archive<W>> {
        for (here, file) in self.all.iter().enumerate().filter(|(_, file)| file.record.is_none()) {
            archive.entry(self.head(here, 1), file.item.path.as_bytes(), 0, &mut io::empty())?;
        }
        let mut contents = package.contents();
        let mut position = 0;
        while let Some(record) = contents.next_record().map_err(io::Error::other)? {
            let here = self.at.get(&position).copied();
            position += 1;
            let Some(here) = here else { continue };
            match (self.all[here].item.node.clone(), &record.node) {
                (ItemNode::File(file), Node::File(content)) => {
                    let names = self.links[&(position - 1)].clone();
                    let Some((last, others)) = names.split_last() else { continue };
                    // Of several names the last in rpm's order has the content.
                    for other in others {
                        let head = self.head(*other, names.len());
                        let path = self.all[*other].item.path.as_bytes();
                        archive.entry(head, path, 0, &mut io::empty())?;
                    }
                    let reader = FileReader::new(&mut contents, content.length, file.changes);
                    let mut reader = HashedReader { reader, hash: Sha256::new() };
                    let head = self.head(*last, names.len());
                    let path = self.all[*last].item.path.clone();
                    let count = archive.entry(head, path.as_bytes(), file.length, &mut reader)?;
                    if count != file.length {
                        return Err(io::Error::other(format!("`{path}` is not as long as it was")));
                    }
                    let digest = hex(&reader.hash.finalize());
                    for name in names {
                        self.all[name].digest.clone_from(&digest);
                    }
                }
                (ItemNode::Symlink(target), _) => {
                    let path = self.all[here].item.path.as_bytes();
                    let length = target.len() as u64;
                    archive.entry(self.head(here, 1), path, length, &mut &*target)?;
                }
                (ItemNode::Directory | ItemNode::Carrier, _) => {
                    let path = self.all[here].item.path.as_bytes();
                    archive.entry(self.head(here, 1), path, 0, &mut io::empty())?;
                }
                _ => {}
            }
        }
        Ok(archive)
    }

    fn head(&self, here: usize, links: usize) -> Head {
        let file = &self.all[here];
        Head {
            position: to_u32(here),
            inode: self.inode(here),
            mode: mode(&file.item).into(),
            links: to_u32(links),
            modified: modified(&file.item),
        }
    }

    /// The same for all names of a file.
    fn inode(&self, here: usize) -> u32 {
        let names = self.all[here].content.and_then(|content| self.links.get(&content));
        to_u32(names.and_then(|names| names.first()).copied().unwrap_or(here) + 1)
    }
}

impl Packed {
    /// What an item is in the payload; `None` for what a script makes and for folders of the system.
    fn of(plan: &Plan, record: usize, item: &Item) -> Option<Self> {
        let (content, length) = match &item.node {
            ItemNode::Carrier | ItemNode::Directory if is_standard(&item.path) => return None,
            ItemNode::Fifo | ItemNode::Device { .. } => return None,
            ItemNode::File(file) => (Some(record), file.length),
            ItemNode::HardLink(first) => match plan.items.get(*first)?.as_ref()?.node {
                ItemNode::File(ref file) => (Some(*first), file.length),
                _ => return None,
            },
            ItemNode::Symlink(target) => (None, target.len() as u64),
            ItemNode::Directory | ItemNode::Carrier => (None, 0),
        };
        let configuration = plan.is_configuration(item);
        let (record, digest) = (Some(record), String::new());
        Some(Self { item: item.clone(), record, content, length, digest, configuration })
    }
}

/// Folders that entries need and none of them is, so that they go with the package.
fn on_the_way(all: &[Packed], time: u64) -> Vec<Packed> {
    let there: BTreeSet<&MachinePath> = all.iter().map(|file| &file.item.path).collect();
    let mut missing = BTreeMap::new();
    for file in all {
        for folder in file.item.path.ancestors() {
            if !is_standard(&folder) && !there.contains(&folder) {
                missing.insert(folder, file.item.step);
            }
        }
    }
    let seconds = i64::try_from(time).unwrap_or(0);
    let meta = Meta::of_root(0o755, Time { seconds, nanoseconds: 0 });
    let made = missing.into_iter().map(|(path, step)| Packed {
        item: Item { path, node: ItemNode::Carrier, meta: meta.clone(), step },
        record: None,
        content: None,
        length: 0,
        digest: String::new(),
        configuration: false,
    });
    made.collect()
}

fn is_standard(path: &MachinePath) -> bool {
    STANDARD.iter().any(|one| path.as_bytes() == one.as_bytes())
}

fn header(plan: &Plan, files: &Files, level: i32) -> Header {
    let identity = &plan.identity;
    let mut header = Header::new(tags::HEADER_IMMUTABLE);
    let texts = [
        (tags::NAME, identity.name.clone()),
        (tags::VERSION, identity.version.clone()),
        (tags::RELEASE, identity.release.clone()),
        (tags::LICENSE, control::line(&plan.export.license)),
        (tags::OS, "linux".to_owned()),
        (tags::ARCH, identity.architecture.clone()),
        (tags::BUILD_HOST, "packhorse".to_owned()),
        (
            tags::SOURCE_RPM,
            format!("{}-{}-{}.src.rpm", identity.name, identity.version, identity.release),
        ),
        (tags::RPM_VERSION, "4.14.0".to_owned()),
        (tags::PAYLOAD_FORMAT, "cpio".to_owned()),
        (tags::PAYLOAD_COMPRESSOR, "zstd".to_owned()),
        (tags::PAYLOAD_FLAGS, level.to_string()),
        (tags::ENCODING, "utf-8".to_owned()),
        (tags::PACKAGER, control::line(&plan.export.maintainer)),
        (tags::URL, control::line(&plan.export.homepage)),
    ];
    for (tag, text) in texts {
        if !text.is_empty() {
            header.set(tag, Value::text(&text));
        }
    }
    header.set(tags::HEADER_I18N, Value::texts(["C"]));
    let section = if plan.export.section.is_empty() { "Unspecified" } else { &plan.export.section };
    for (tag, text) in [
        (tags::SUMMARY, control::summary(plan)),
        (tags::DESCRIPTION, control::description(plan)),
        (tags::GROUP, section.to_owned()),
    ] {
        header.set(tag, Value::Translated(text.into_bytes()));
    }
    let time = u32::try_from(plan.time).unwrap_or(u32::MAX);
    header.set(tags::BUILD_TIME, Value::Numbers(vec![time]));
    if let Some(epoch) = identity.epoch {
        header.set(tags::EPOCH, Value::Numbers(vec![epoch]));
    }
    let who = if plan.export.maintainer.is_empty() { "Packhorse" } else { &plan.export.maintainer };
    let author = format!("{} - {}-{}", control::line(who), identity.version, identity.release);
    header.set(tags::CHANGELOG_TIMES, Value::Numbers(vec![time]));
    header.set(tags::CHANGELOG_NAMES, Value::texts([author]));
    header.set(tags::CHANGELOG_TEXTS, Value::texts(["- Made of a Packhorse script."]));
    let scripts = set_scripts(&mut header, plan);
    set_files(&mut header, files);
    set_dependencies(&mut header, plan, files, scripts);
    header
}

/// Gives the flags of the scripts there are.
fn set_scripts(header: &mut Header, plan: &Plan) -> u32 {
    let mut flags = 0;
    for (name, text) in plan.phases.rpm(&plan.identity.name) {
        let (tag, program, flag) = match name {
            "pre" => (tags::PRE, tags::PRE_PROGRAM, OF_PRE),
            "post" => (tags::POST, tags::POST_PROGRAM, OF_POST),
            "preun" => (tags::PREUN, tags::PREUN_PROGRAM, OF_PREUN),
            _ => (tags::POSTUN, tags::POSTUN_PROGRAM, OF_POSTUN),
        };
        header.set(tag, Value::text(&text));
        header.set(program, Value::text("/bin/sh"));
        flags |= flag;
    }
    flags
}

fn set_files(header: &mut Header, files: &Files) {
    let all = &files.all;
    let numbers = |of: &dyn Fn(&Packed) -> u32| Value::Numbers(all.iter().map(of).collect());
    let counted = |file: &&Packed| !matches!(file.item.node, ItemNode::HardLink(_));
    let total: u64 = all.iter().filter(counted).map(|file| file.length).sum();
    match u32::try_from(total) {
        Ok(total) => header.set(tags::SIZE, Value::Numbers(vec![total])),
        Err(_) => header.set(tags::LONG_SIZE, Value::Numbers64(vec![total])),
    }
    if all.is_empty() {
        return;
    }
    if files.are_long {
        let sizes = all.iter().map(|file| file.length).collect();
        header.set(tags::LONG_FILE_SIZES, Value::Numbers64(sizes));
    } else {
        header.set(tags::FILE_SIZES, numbers(&|file| u32::try_from(file.length).unwrap_or(0)));
    }
    header
        .set(tags::FILE_MODES, Value::Numbers16(all.iter().map(|file| mode(&file.item)).collect()));
    header.set(tags::FILE_RDEVS, Value::Numbers16(vec![0; all.len()]));
    header.set(tags::FILE_MTIMES, numbers(&|file| modified(&file.item)));
    header.set(tags::FILE_DIGESTS, Value::texts(all.iter().map(|file| &file.digest)));
    header.set(tags::FILE_DIGEST_ALGORITHM, Value::Numbers(vec![8]));
    let target = |file: &Packed| match &file.item.node {
        ItemNode::Symlink(target) => target.clone(),
        _ => Vec::new(),
    };
    header.set(tags::FILE_LINKS, Value::Texts(all.iter().map(target).collect()));
    header
        .set(tags::FILE_FLAGS, numbers(&|file| if file.configuration { CONFIGURATION } else { 0 }));
    let owner = |file: &Packed| file.item.meta.owner.to_string();
    let group = |file: &Packed| file.item.meta.group.to_string();
    header.set(tags::FILE_USERS, Value::texts(all.iter().map(owner)));
    header.set(tags::FILE_GROUPS, Value::texts(all.iter().map(group)));
    header.set(tags::FILE_VERIFY, numbers(&|_| u32::MAX));
    header.set(tags::FILE_DEVICES, numbers(&|_| 1));
    let inodes = (0..all.len()).map(|here| files.inode(here)).collect();
    header.set(tags::FILE_INODES, Value::Numbers(inodes));
    header.set(tags::FILE_LANGUAGES, Value::texts(all.iter().map(|_| "")));
    let mut folders: Vec<Vec<u8>> = Vec::new();
    let mut indexes = Vec::with_capacity(all.len());
    let mut names = Vec::with_capacity(all.len());
    let mut known: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
    for file in all {
        let (folder, name) = split(&file.item.path);
        let index = *known.entry(folder.clone()).or_insert_with(|| {
            folders.push(folder);
            to_u32(folders.len() - 1)
        });
        indexes.push(index);
        names.push(name);
    }
    header.set(tags::DIR_INDEXES, Value::Numbers(indexes));
    header.set(tags::BASE_NAMES, Value::Texts(names));
    header.set(tags::DIR_NAMES, Value::Texts(folders));
    if all.iter().any(|file| file_capabilities(&file.item).is_some()) {
        let text = |file: &Packed| file_capabilities(&file.item).unwrap_or_default();
        header.set(tags::FILE_CAPABILITIES, Value::texts(all.iter().map(text)));
    }
}

fn set_dependencies(header: &mut Header, plan: &Plan, files: &Files, scripts: u32) {
    let identity = &plan.identity;
    let epoch = identity.epoch.map_or(String::new(), |epoch| format!("{epoch}:"));
    let full = format!("{epoch}{}-{}", identity.version, identity.release);
    let kind = match &*identity.architecture {
        "noarch" => None,
        "x86_64" => Some("x86-64"),
        "aarch64" => Some("aarch-64"),
        other => Some(other),
    };
    let mut provides = vec![identity.name.clone()];
    provides.extend(kind.map(|kind| format!("{}({kind})", identity.name)));
    header.set(tags::PROVIDE_FLAGS, Value::Numbers(vec![EQUAL; provides.len()]));
    header.set(tags::PROVIDE_VERSIONS, Value::texts(vec![full; provides.len()]));
    header.set(tags::PROVIDE_NAMES, Value::texts(provides));

    let mut requires: Vec<(String, u32, String)> = Vec::new();
    let mut of_rpm = |name: &str, version: &str| {
        requires.push((format!("rpmlib({name})"), OF_RPM | LESS | EQUAL, version.to_owned()));
    };
    of_rpm("CompressedFileNames", "3.0.4-1");
    of_rpm("FileDigests", "4.6.0-1");
    of_rpm("PayloadFilesHavePrefix", "4.0-1");
    of_rpm("PayloadIsZstd", "5.4.18-1");
    if files.are_long {
        of_rpm("LargeFiles", "4.12.0-1");
    }
    if files.all.iter().any(|file| file_capabilities(&file.item).is_some()) {
        of_rpm("FileCaps", "4.6.1-1");
    }
    if scripts != 0 {
        requires.push(("/bin/sh".to_owned(), OF_SCRIPT | scripts, String::new()));
    }
    for need in plan.needs.iter().filter(|need| !need.is_empty()) {
        requires.push(((*need).to_owned(), scripts & (OF_PRE | OF_POST), String::new()));
    }
    requires.extend(plan.export.rpm.iter().map(|text| requirement(text)));
    requires.sort();
    requires.dedup();
    header.set(tags::REQUIRE_NAMES, Value::texts(requires.iter().map(|one| &one.0)));
    header.set(tags::REQUIRE_FLAGS, Value::Numbers(requires.iter().map(|one| one.1).collect()));
    header.set(tags::REQUIRE_VERSIONS, Value::texts(requires.iter().map(|one| &one.2)));
}

/// `glibc >= 2.36` as name, flags and version.
fn requirement(text: &str) -> (String, u32, String) {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words[..] {
        [name, sign, version] if sign.bytes().all(|byte| b"<=>".contains(&byte)) => {
            let flag = |byte, flag| if sign.contains(byte) { flag } else { 0 };
            let flags = flag('<', LESS) | flag('>', GREATER) | flag('=', EQUAL);
            (name.to_owned(), flags, version.to_owned())
        }
        _ => (words.join(" "), 0, String::new()),
    }
}

fn finish(
    out: &mut impl Write,
    plan: &Plan,
    header: &[u8],
    payload: &mut (impl Read + Seek),
    archive_length: u64,
) -> io::Result<u64> {
    let payload_length = payload.seek(SeekFrom::End(0))?;
    payload.seek(SeekFrom::Start(0))?;
    let length = header.len() as u64 + payload_length;
    let mut signature = Header::new(tags::HEADER_SIGNATURES);
    signature.set(tags::SHA1_HEADER, Value::text(&hex(&Sha1::digest(header))));
    signature.set(tags::SHA256_HEADER, Value::text(&hex(&Sha256::digest(header))));
    match u32::try_from(length) {
        Ok(length) => signature.set(tags::SIGNATURE_SIZE, Value::Numbers(vec![length])),
        Err(_) => signature.set(tags::LONG_SIGNATURE_SIZE, Value::Numbers64(vec![length])),
    }
    match u32::try_from(archive_length) {
        Ok(length) => signature.set(tags::SIGNATURE_PAYLOAD_SIZE, Value::Numbers(vec![length])),
        Err(_) => signature.set(tags::LONG_ARCHIVE_SIZE, Value::Numbers64(vec![archive_length])),
    }
    let mut front = lead(plan);
    front.extend(signature.bytes());
    front.resize(front.len().next_multiple_of(8), 0);
    out.write_all(&front)?;
    out.write_all(header)?;
    io::copy(payload, out)?;
    Ok(front.len() as u64 + length)
}

/// The first 96 bytes, which nobody reads any more but file(1).
fn lead(plan: &Plan) -> Vec<u8> {
    let identity = &plan.identity;
    let mut lead = vec![0xed, 0xab, 0xee, 0xdb, 3, 0, 0, 0];
    let number: u16 = match &*identity.architecture {
        "x86_64" => 1,
        "aarch64" => 19,
        _ => 255,
    };
    lead.extend(number.to_be_bytes());
    let name = format!("{}-{}-{}", identity.name, identity.version, identity.release);
    let mut field = [0; 66];
    let length = name.len().min(65);
    field[..length].copy_from_slice(&name.as_bytes()[..length]);
    lead.extend(field);
    lead.extend(1_u16.to_be_bytes());
    lead.extend(5_u16.to_be_bytes());
    lead.extend([0; 16]);
    lead
}

fn split(path: &MachinePath) -> (Vec<u8>, Vec<u8>) {
    let bytes = path.as_bytes();
    let slash = bytes.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    (bytes[..=slash].to_vec(), bytes[slash + 1..].to_vec())
}

fn file_capabilities(item: &Item) -> Option<String> {
    capabilities::text(item.meta.xattrs.get(capabilities::ATTRIBUTE)?)
}

fn mode(item: &Item) -> u16 {
    let kind = match item.node {
        ItemNode::Directory | ItemNode::Carrier => 0o040_000,
        ItemNode::Symlink(_) => 0o120_000,
        _ => 0o100_000,
    };
    kind | item.meta.mode
}

fn modified(item: &Item) -> u32 {
    u32::try_from(item.meta.modified.seconds.max(0)).unwrap_or(u32::MAX)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

struct Hashed<W> {
    out: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hash.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

struct HashedReader<R> {
    reader: R,
    hash: Sha256,
}

impl<R: Read> Read for HashedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}
