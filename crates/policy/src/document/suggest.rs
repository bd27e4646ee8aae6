//! "Did you mean": the known word nearest to a misspelt one.

/// Help for an unknown word: the nearest known one if it is near, else all of them.
pub(crate) fn did_you_mean<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    let near = known.iter().map(|candidate| (distance(word, candidate), candidate)).min();
    match near {
        Some((distance, candidate)) if distance <= 1 + word.chars().count() / 4 => {
            format!("did you mean `{candidate}`?")
        }
        Some(_) => format!("there are: {}", known.join(", ")),
        None => "there are none".to_owned(),
    }
}

/// How many characters must be inserted, removed, replaced or swapped with their neighbour to make one word the other.
fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().take(LONGEST).collect();
    let to: Vec<char> = to.chars().take(LONGEST).collect();
    let mut rows = vec![(0..=to.len()).collect::<Vec<usize>>()];
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let replaced = rows[i][j] + usize::from(a != b);
            let mut best = replaced.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

/// Words are compared up to this length, which bounds the work that a hostile text can cause.
const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swapped_letter_is_recognised() {
        assert_eq!(did_you_mean("uinkernel", ["ram", "unikernel"].into_iter()), "did you mean `unikernel`?");
        assert_eq!(did_you_mean("rma", ["ram", "cpu"].into_iter()), "did you mean `ram`?");
    }

    #[test]
    fn a_far_word_gets_the_whole_list() {
        assert_eq!(did_you_mean("colour", ["ram", "cpu"].into_iter()), "there are: ram, cpu");
        assert_eq!(did_you_mean("colour", [].into_iter()), "there are none");
    }
}
