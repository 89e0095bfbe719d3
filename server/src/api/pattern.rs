//! Channel names by a pattern. Imports nothing.

/// Whether the whole name matches: `*` stands for any characters, `?` for any one.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (pattern.chars(), name.chars());
    // Where to go on when the last `*` must take one character more.
    let mut retry = None;
    loop {
        let name_here = name.clone();
        match (pattern.next(), name.next()) {
            (Some('*'), _) => {
                name = name_here;
                retry = Some((pattern.clone(), name.clone()));
            }
            (Some('?'), Some(_)) => {}
            (Some(expected), Some(found)) if expected == found => {}
            (None, None) => return true,
            _ => {
                let Some((after_star, taken)) = &mut retry else { return false };
                if taken.next().is_none() {
                    return false;
                }
                (pattern, name) = (after_star.clone(), taken.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_the_whole_name() {
        for (pattern, name) in [
            ("a", "a"),
            ("*", ""),
            ("*", "a:b"),
            ("a*", "a"),
            ("*b", "ab"),
            ("a*c*e", "abcde"),
            ("?b", "éb"),
            ("a*bc", "abbbc"),
            ("**", "x"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("a", ""), ("a", "ab"), ("a*", "b"), ("*b", "abc"), ("?", ""), ("?", "ab"), ("a*bc", "abcb"), ("", "a")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
