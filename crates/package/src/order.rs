use std::cmp::Ordering;

/// How paths below a tree's root sort: part by part, as [`MachinePath`](model::MachinePath)s do, so that
/// a folder comes right before what it holds and the root, the empty path, before all.
pub fn compare_paths(left: &[u8], right: &[u8]) -> Ordering {
    let key = |byte: &u8| if *byte == b'/' { 0 } else { u16::from(*byte) + 1 };
    left.iter().map(key).cmp(right.iter().map(key))
}

#[cfg(test)]
mod tests {
    use model::MachinePath;
    use proptest::prelude::*;

    use super::compare_paths;

    proptest! {
        #[test]
        fn paths_sort_as_machine_paths_do(left in "[a/! ]{0,6}", right in "[a/! ]{0,6}") {
            let path = |text: &str| MachinePath::new(format!("/{text}")).unwrap();
            let (left, right) = (path(&left), path(&right));
            prop_assert_eq!(compare_paths(left.relative(), right.relative()), left.cmp(&right));
        }
    }
}
