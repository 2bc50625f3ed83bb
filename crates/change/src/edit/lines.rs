//! Whole lines.

use super::{
    Before, Standing,
    text::{Line, Text},
};

/// The lines of a block, without the `\r` some of them may end in.
pub(super) fn without_returns(block: &[u8]) -> Vec<u8> {
    let lines: Vec<&[u8]> = block
        .split(|byte| *byte == b'\n')
        .map(|line| {
            let returns = line.iter().rev().take_while(|byte| **byte == b'\r').count();
            &line[..line.len() - returns]
        })
        .collect();
    lines.join(&b'\n')
}

pub(super) fn add(text: &mut Text, block: &[u8], after: Option<&[u8]>) {
    let block = without_returns(block);
    if find(text, &block).is_some() {
        return;
    }
    let follows = after.and_then(|after| {
        text.lines.iter().position(|line| line.content == after).map(|position| position + 1)
    });
    let position = follows.unwrap_or(text.lines.len());
    for (offset, line) in block.split(|byte| *byte == b'\n').enumerate() {
        text.insert(position + offset, line.to_vec());
    }
}

pub(super) fn take_back_added(text: &mut Text, block: &[u8]) -> Result<(), Option<Vec<u8>>> {
    let block = without_returns(block);
    let Some(position) = find(text, &block) else { return Err(None) };
    let count = block.split(|byte| *byte == b'\n').count();
    text.lines.drain(position..position + count);
    Ok(())
}

pub(super) fn remove(text: &mut Text, line: &[u8]) {
    text.lines.retain(|other| other.content != line);
}

/// The lines a removal takes.
pub(super) fn standing(text: &Text, line: &[u8]) -> Vec<Standing> {
    standing_at(text, |_, other| other.content == line)
}

pub(super) fn standing_at(text: &Text, takes: impl Fn(usize, &Line) -> bool) -> Vec<Standing> {
    let chosen = text.lines.iter().enumerate().filter(|(position, line)| takes(*position, line));
    chosen
        .map(|(position, line)| Standing {
            position: position as u64,
            line: line.write(),
            previous: position.checked_sub(1).map(|before| text.lines[before].content.clone()),
        })
        .collect()
}

pub(super) fn take_back_removed(
    text: &mut Text,
    line: &[u8],
    before: &Before,
) -> Result<(), Option<Vec<u8>>> {
    if text.lines.iter().any(|other| other.content == line) {
        return Err(Some(line.to_vec()));
    }
    put_back(text, &before.lines);
    Ok(())
}

/// Puts lines back where they stood: behind the line they followed, the one nearest to the old place.
pub(super) fn put_back(text: &mut Text, lines: &[Standing]) {
    for standing in lines {
        let position = place(text, standing);
        text.insert_line(position, Line::read(&standing.line));
    }
}

fn place(text: &Text, standing: &Standing) -> usize {
    let old = usize::try_from(standing.position).unwrap_or(usize::MAX);
    let Some(previous) = &standing.previous else { return 0 };
    let followed = text
        .lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.content == *previous)
        .map(|(position, _)| position + 1)
        .min_by_key(|position| position.abs_diff(old));
    followed.unwrap_or_else(|| old.min(text.lines.len()))
}

/// Where the lines of a block stand one after the other.
fn find(text: &Text, block: &[u8]) -> Option<usize> {
    let block: Vec<&[u8]> = block.split(|byte| *byte == b'\n').collect();
    text.lines
        .windows(block.len())
        .position(|lines| lines.iter().zip(&block).all(|(line, wanted)| line.content == *wanted))
}
