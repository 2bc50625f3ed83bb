//! Packs made again from a delta are, byte for byte, what was published.

use std::path::PathBuf;

use content::{Index, Object, Release};
use package::Settings;
use store::{PackPart, PublishOptions, Rebuild, RebuildError};
use testkit::Sample;

use crate::point::{Place, flip, name, noise, place};

/// Two releases at one point, and another that has the first, and of the second its manifest and its delta.
struct Two {
    all: Place,
    part: Place,
    old: Release,
    new: Release,
}

/// Text, a program and a picture; of the first two, every chunk is another in another version.
fn package(version: u8) -> Sample {
    let digits = |byte: &u8| format!("{byte:02x}\n").into_bytes();
    let mut text: Vec<u8> = noise(100_000, 1).iter().flat_map(digits).collect();
    let mut code = b"\x7fELF".to_vec();
    code.extend(noise(400_000, 2).iter().map(|byte| byte & 0x8F));
    for content in [&mut text, &mut code] {
        for at in (100..content.len()).step_by(3_000) {
            content[at] = b'0' + version;
        }
    }
    let mut sample = Sample::new("redis", &version.to_string());
    let tree = sample.tree("/opt/redis");
    sample.directory(tree, "");
    sample.file(tree, "program", &code);
    sample.file(tree, "text", &text);
    let picture = noise(150_000 + usize::from(version), 3 + u64::from(version));
    sample.file(tree, "picture.png", &picture);
    sample
}

fn two(level: i32) -> Two {
    let (all, part) = (place(), place());
    let mut releases = Vec::new();
    for version in [1, 2] {
        let settings = Settings { level, ..Settings::shared(1) };
        let file = all.path(&format!("{version}.package"));
        std::fs::write(&file, package(version).packed(&[], settings)).unwrap();
        let options = PublishOptions { workers: Some(1), ..PublishOptions::default() };
        let done = store::publish(&all.point, &file, &options, &mut |_, _, _| {}).unwrap();
        releases.push(done.release);
    }
    let [old, new] = releases.try_into().unwrap();
    let mut index = Index::new(name());
    index.put(Release::clone(&old));
    let first: Vec<Object> = index.objects().collect();
    let deltas = new.deltas.iter().map(|entry| entry.object);
    let rest = new.older().iter().copied().chain([new.manifest]).chain(deltas);
    for object in first.into_iter().chain(rest) {
        let (from, to) = (at(&all, &object), at(&part, &object));
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap();
    }
    Two { all, part, old, new }
}

fn at(place: &Place, object: &Object) -> PathBuf {
    place.path("dp").join(object.path())
}

impl Two {
    fn rebuild(&self) -> Result<Rebuild, RebuildError> {
        let delta = at(&self.part, &self.new.deltas[0].object);
        let folder = self.part.folder.path();
        let packs: Vec<Object> =
            self.new.packs.iter().filter(|pack| !self.old.packs.contains(pack)).copied().collect();
        Rebuild::new(&self.part.point, &self.old, &self.new, &delta, &packs, folder, &mut || true)
    }

    /// Makes what can be made of the new pack, from a byte on; the rest is taken from where all is.
    fn make(&self, from: u64) -> (usize, usize) {
        let mut rebuild = self.rebuild().unwrap();
        let pack = self.new.packs[0];
        let published = std::fs::read(at(&self.all, &pack)).unwrap();
        let mut bytes = published[..usize::try_from(from).unwrap()].to_vec();
        let (mut made, mut other) = (0, 0);
        while let Some(next) = rebuild.next(&pack, bytes.len() as u64) {
            let (PackPart::Frame(range) | PackPart::Other(range)) = next.clone();
            let frame = match next {
                PackPart::Frame(_) => {
                    rebuild.make(&pack, &[range.start], &mut || true).unwrap().remove(0)
                }
                PackPart::Other(_) => None,
            };
            let is_made = frame.is_some();
            let end = usize::try_from(range.end).unwrap();
            let here = bytes.len();
            match frame {
                Some(frame) => bytes.extend(&frame[here - usize::try_from(range.start).unwrap()..]),
                None => bytes.extend(&published[here..end]),
            }
            assert_eq!(bytes.len(), end);
            *(if is_made { &mut made } else { &mut other }) += end - here;
        }
        assert!(bytes == published, "the pack is another");
        assert_eq!(rebuild.next(&pack, pack.length), None);
        (made, other)
    }
}

#[test]
fn packs_come_out_as_they_were_published() {
    for level in [1, 9, 19] {
        let two = two(level);
        let (made, other) = two.make(0);
        assert!(other * 20 < made, "level {level}: {other} bytes beside {made}");
    }
}

#[test]
fn frames_are_packed_side_by_side() {
    let two = two(7);
    let (mut rebuild, pack) = (two.rebuild().unwrap(), two.new.packs[0]);
    let published = std::fs::read(at(&two.all, &pack)).unwrap();
    let (mut at, mut frames) = (0, Vec::new());
    while let Some(next) = rebuild.next(&pack, at) {
        let (PackPart::Frame(range) | PackPart::Other(range)) = next.clone();
        at = range.end;
        frames.extend(matches!(next, PackPart::Frame(_)).then_some(range));
    }
    assert!(frames.len() > 1, "{frames:?}");
    let starts: Vec<u64> = frames.iter().map(|range| range.start).collect();
    let made = rebuild.make(&pack, &starts, &mut || true).unwrap();
    for (range, made) in frames.iter().zip(made) {
        let [start, end] = [range.start, range.end].map(|at| usize::try_from(at).unwrap());
        assert!(made.as_deref() == Some(&published[start..end]), "{range:?}");
    }
    // Nobody waits: nothing more is tried.
    let mut fresh = two.rebuild().unwrap();
    let stopped = fresh.make(&pack, &starts, &mut || false).unwrap();
    assert_eq!(stopped.len(), starts.len());
}

#[test]
fn a_part_that_is_there_is_gone_on_from() {
    let two = two(3);
    for from in (0..two.new.packs[0].length).step_by(40_009) {
        two.make(from);
    }
}

#[test]
fn frames_nobody_here_packs_like_that_are_left_to_others() {
    let two = two(-5);
    let mut rebuild = two.rebuild().unwrap();
    let pack = two.new.packs[0];
    let (mut at, mut left) = (0, 0);
    while let Some(next) = rebuild.next(&pack, at) {
        let (PackPart::Frame(range) | PackPart::Other(range)) = next.clone();
        if matches!(next, PackPart::Frame(_))
            && rebuild.make(&pack, &[range.start], &mut || true).unwrap().remove(0).is_none()
        {
            left += 1;
        }
        at = range.end;
    }
    assert!(left > 0);
}

#[test]
fn a_base_or_a_delta_that_is_damaged_leads_to_nothing() {
    let two = two(1);
    let delta = at(&two.part, &two.new.deltas[0].object);
    let sound = std::fs::read(&delta).unwrap();
    for place in (20..sound.len()).step_by(sound.len() / 40) {
        flip(&delta, place);
        // What is no error leads to the same content: nothing else passes.
        if two.rebuild().is_ok() {
            two.make(0);
        }
        std::fs::write(&delta, &sound).unwrap();
    }
    std::fs::write(&delta, &sound[..sound.len() / 2]).unwrap();
    assert!(matches!(two.rebuild(), Err(RebuildError::Delta(_))));
    std::fs::write(&delta, &sound).unwrap();
    flip(&at(&two.part, &two.old.packs[0]), 30_000);
    let error = two.rebuild().unwrap_err();
    assert!(matches!(error, RebuildError::Base(_)), "{error}");
}

#[test]
fn whoever_waits_no_more_is_heard() {
    let two = two(1);
    let delta = at(&two.part, &two.new.deltas[0].object);
    let (point, folder) = (&two.part.point, two.part.folder.path());
    let mut asked = 0;
    let stopped =
        Rebuild::new(point, &two.old, &two.new, &delta, &two.new.packs, folder, &mut || {
            asked += 1;
            asked < 5
        });
    assert!(matches!(stopped, Err(RebuildError::Stopped)));
}
