//! Trees to measure on.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};

/// Files in each folder of a made tree.
const IN_FOLDER: usize = 16;
/// Folders in each folder of those.
const FOLDERS: usize = 100;

/// Makes a tree of `files` small files, as many in each folder as systems have on average. Names, sizes and
/// times are as irregular as theirs: half the files have times of their own, the others that of a package.
pub(super) fn make(root: &Path, files: usize) -> Result<()> {
    let text = [b'#'; 256];
    for number in 0..files {
        let file = file_of(root, number);
        if number % IN_FOLDER == 0 {
            fs::create_dir_all(folder_of(root, number))?;
        }
        let random = random(number);
        let since = if random & 1 == 0 {
            Duration::from_secs(1_600_000_000 + (number / 1024) as u64)
        } else {
            Duration::from_nanos(1_600_000_000_000_000_000 + (random >> 7))
        };
        File::create_new(&file)
            .and_then(|mut made| {
                made.write_all(&text[..=(random >> 32) as usize % 255])?;
                made.set_modified(UNIX_EPOCH + since)
            })
            .with_context(|| file.display().to_string())?;
    }
    Ok(())
}

/// The folder a file of this number is in.
pub(super) fn folder_of(root: &Path, number: usize) -> PathBuf {
    let folder = number / IN_FOLDER;
    root.join(format!("area-{}", folder / FOLDERS)).join(format!("part-{}", folder % FOLDERS))
}

pub(super) fn file_of(root: &Path, number: usize) -> PathBuf {
    let random = random(number);
    let extension = ["conf", "js", "py", "so", "html", "h"][(random >> 20) as usize % 6];
    folder_of(root, number).join(format!(
        "{:06x}-{}.{extension}",
        random & 0xff_ffff,
        number % IN_FOLDER
    ))
}

/// A number that looks random, and is the same each time.
fn random(number: usize) -> u64 {
    let mut mixed = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Copies real files of this system into `to`: as many as asked for, with about as many bytes, drawn from
/// everywhere, so that they are as mixed as a system's are.
pub(super) fn copy_real(to: &Path, files: usize, bytes: u64) -> Result<u64> {
    let mut all = Vec::new();
    for folder in ["/usr/lib", "/usr/share", "/usr/bin"] {
        collect(Path::new(folder), &mut all)?;
    }
    // An order that has nothing to do with names, and is the same each time.
    all.sort_by_cached_key(|(path, _)| {
        *blake3::hash(path.as_os_str().as_encoded_bytes()).as_bytes()
    });
    let (mut taken, mut total) = (0, 0);
    for (path, length) in all {
        // Large files wait until the sum has room for them.
        let allowed = bytes / files as u64 * (taken as u64 + 1) + bytes / 20;
        if taken == files || total + length > allowed {
            continue;
        }
        let name = to.join(path.strip_prefix("/").unwrap_or(&path));
        if let Some(parent) = name.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::copy(&path, &name).with_context(|| path.display().to_string())?;
        taken += 1;
        total += length;
    }
    ensure!(taken == files, "this system has only {taken} files to take");
    Ok(total)
}

fn collect(folder: &Path, all: &mut Vec<(PathBuf, u64)>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let meta = fs::symlink_metadata(&path)?;
        if meta.is_dir() {
            collect(&path, all)?;
        } else if meta.is_file() {
            all.push((path, meta.len()));
        }
    }
    Ok(())
}
