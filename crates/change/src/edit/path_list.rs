//! Folders in a list like `PATH="a:b"`.

use model::escape;

use super::{
    Before, InvalidEdit,
    keys::{self, Scope},
    text::Text,
};

pub(super) fn check_folder(folder: Vec<u8>) -> Result<Vec<u8>, InvalidEdit> {
    let odd = folder.is_empty()
        || folder.iter().any(|byte| b":;\n\r\"'".contains(byte))
        || folder.trim_ascii().len() != folder.len();
    if odd { Err(InvalidEdit::Value { value: escape(&folder) }) } else { Ok(folder) }
}

pub(super) fn add(text: &mut Text, key: &[u8], folder: &[u8], first: bool) {
    let Some(position) = keys::find(text, Scope::Shell, key).pop() else {
        keys::set(text, Scope::Shell, key, Some(folder));
        return;
    };
    let value = keys::value(text, position, Scope::Shell);
    let list = list_of(&value);
    let (front, elements, back) = (&value[..list.start], &value[list.clone()], &value[list.end..]);
    if elements.split(|byte| *byte == b':').any(|element| same(element, folder)) {
        return;
    }
    let elements = if elements.is_empty() {
        folder.to_vec()
    } else if first {
        [folder, b":", elements].concat()
    } else {
        [elements, b":", folder].concat()
    };
    keys::set(text, Scope::Shell, key, Some(&[front, &elements, back].concat()));
}

pub(super) fn take_back(
    text: &mut Text,
    key: &[u8],
    folder: &[u8],
    before: &Before,
) -> Result<(), Option<Vec<u8>>> {
    let Some(position) = keys::find(text, Scope::Shell, key).pop() else { return Err(None) };
    let value = keys::value(text, position, Scope::Shell);
    let list = list_of(&value);
    let (front, back) = (&value[..list.start], &value[list.end..]);
    let mut elements: Vec<&[u8]> = value[list.clone()].split(|byte| *byte == b':').collect();
    let Some(ours) = elements.iter().position(|element| *element == folder) else {
        return Err(Some(value.clone()));
    };
    elements.remove(ours);
    if elements.is_empty() && before.lines.is_empty() {
        text.lines.remove(position);
        return Ok(());
    }
    let value = [front, &elements.join(&b':'), back].concat();
    keys::set(text, Scope::Shell, key, Some(&value));
    Ok(())
}

/// Where the list is in a value: between quotes, or up to a `;`.
fn list_of(value: &[u8]) -> std::ops::Range<usize> {
    let quote = value.first().copied().filter(|first| b"\"'".contains(first));
    let start = usize::from(quote.is_some());
    let ends = |byte: &u8| quote.map_or(*byte == b';', |quote| *byte == quote);
    let end = value[start..].iter().position(ends).map_or(value.len(), |length| start + length);
    // Blanks at the end belong to nobody's folder.
    let list = &value[start..end];
    start..start + list.trim_ascii_end().len()
}

/// Whether two spellings name one folder.
fn same(left: &[u8], right: &[u8]) -> bool {
    let bare = |folder: &[u8]| {
        let slashes = folder.iter().rev().take_while(|byte| **byte == b'/').count();
        folder.len() - slashes.min(folder.len().saturating_sub(1))
    };
    left[..bare(left)] == right[..bare(right)]
}
