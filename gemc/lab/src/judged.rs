//! Documents -> windows spread evenly over all of them, and means with intervals for which documents are drawn anew.

use std::collections::BTreeMap;

use gemc::sequences::Sequence;

/// Drawings of documents.
const DRAWINGS: usize = 10_000;

/// Windows to judge on, domain by domain.
#[derive(Debug, Default)]
pub struct Judged {
    /// The windows.
    pub windows: Vec<Sequence>,
    /// The document of each window's tokens; those of one domain are in a row.
    documents: Vec<usize>,
    /// Domain of each document.
    domains: Vec<String>,
}

/// A window in a document: the number of that, the text that it is of, and its tokens.
type Found<'a> = (usize, &'a Sequence, &'a [u32]);

impl Judged {
    /// So many windows of a domain, or all where there are fewer: evenly spaced over the text of all its documents.
    #[must_use]
    pub fn spread(documents: &[Sequence], window: usize, of_domain: usize) -> Self {
        let mut by_domain: BTreeMap<&str, Vec<Found<'_>>> = BTreeMap::new();
        // Texts that are pieces of one document are drawn together: by the number of the first of them.
        let mut first: BTreeMap<(&str, usize), usize> = BTreeMap::new();
        for (i, document) in documents.iter().enumerate() {
            let of = (&*document.domain, document.origin.document);
            let number = *first.entry(of).or_insert(i);
            let windows = by_domain.entry(&document.domain).or_default();
            // What is left at a document's end is no window of its own, unless the document is that short.
            let whole = document.ids.len().div_ceil(window).max(1);
            let least = if whole == 1 { 1 } else { window / 2 };
            let cut = document.ids.chunks(window).filter(|ids| ids.len() >= least);
            windows.extend(cut.map(|ids| (number, document, ids)));
        }
        let mut judged = Self {
            domains: documents.iter().map(|d| d.domain.clone()).collect(),
            ..Self::default()
        };
        for (domain, windows) in by_domain {
            let taken = windows.len().min(of_domain);
            for i in 0..taken {
                let (number, of, ids) = windows[i * windows.len() / taken];
                judged.documents.extend(vec![number; ids.len()]);
                judged.windows.push(Sequence {
                    domain: domain.to_owned(),
                    ids: ids.to_vec(),
                    ..of.clone()
                });
            }
        }
        judged
    }

    /// Documents of which something is judged, and windows, by domain.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&str, (usize, usize)> {
        let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for window in &self.windows {
            counts.entry(&window.domain).or_default().1 += 1;
        }
        let mut seen: Vec<usize> = self.documents.clone();
        seen.dedup();
        for document in seen {
            if let Some(count) = counts.get_mut(&*self.domains[document]) {
                count.0 += 1;
            }
        }
        counts
    }

    /// 95 % interval of a function of the tokens' means. `values` have a value of every token each, in order. Documents are
    /// drawn anew within each domain, the same for all of `values`.
    ///
    /// # Panics
    /// When there is no value for every token.
    #[must_use]
    pub fn interval(&self, values: &[&[f64]], of: impl Fn(&[f64]) -> f64) -> (f64, f64) {
        assert!(values.iter().all(|v| v.len() == self.documents.len()));
        // Sums over each document, of its tokens' number and of every list.
        let mut sums: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        for (token, document) in self.documents.iter().enumerate() {
            let sum = sums
                .entry(*document)
                .or_insert_with(|| vec![0.0; values.len() + 1]);
            sum[0] += 1.0;
            for (sum, values) in sum[1..].iter_mut().zip(values) {
                *sum += values[token];
            }
        }
        let mut strata: BTreeMap<&str, Vec<&[f64]>> = BTreeMap::new();
        for (document, sum) in &sums {
            strata
                .entry(&self.domains[*document])
                .or_default()
                .push(sum);
        }
        let mut random = Random(1);
        let mut found: Vec<f64> = (0..DRAWINGS)
            .map(|_| {
                let mut total = vec![0.0; values.len() + 1];
                for documents in strata.values() {
                    for _ in 0..documents.len() {
                        let drawn = documents[random.below(documents.len())];
                        total.iter_mut().zip(drawn).for_each(|(t, d)| *t += d);
                    }
                }
                let means: Vec<f64> = total[1..].iter().map(|sum| sum / total[0]).collect();
                of(&means)
            })
            .collect();
        found.sort_unstable_by(f64::total_cmp);
        (found[DRAWINGS / 40], found[DRAWINGS - DRAWINGS / 40 - 1])
    }
}

/// Knuth's linear congruences, the upper bits.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((self.0 >> 33) % n as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use gemc::sequences::Origin;

    use super::*;

    fn document(number: usize, domain: &str, tokens: usize) -> Sequence {
        Sequence {
            domain: domain.to_owned(),
            ids: vec![0; tokens],
            label: None,
            origin: Origin {
                document: number,
                ..Origin::default()
            },
        }
    }

    #[test]
    fn windows_come_from_all_of_the_text() {
        let documents = [
            document(0, "a", 100),
            document(0, "b", 3),
            document(1, "a", 44),
            document(2, "a", 100),
        ];
        let judged = Judged::spread(&documents, 10, 6);
        // 24 windows of a: ends that are shorter than half a window are none. Of b there is a short one.
        assert_eq!(judged.windows.len(), 7);
        assert_eq!(judged.counts()["a"], (3, 6));
        assert_eq!(judged.counts()["b"], (1, 1));
        assert_eq!(judged.documents.len(), 63);
        assert_eq!(judged.documents[..10], [0; 10]);
        assert_eq!(Judged::spread(&documents, 10, 99).windows.len(), 25);
        // Pieces of one document are one.
        let pieces = [
            document(0, "a", 20),
            document(0, "a", 20),
            document(1, "a", 20),
        ];
        let judged = Judged::spread(&pieces, 10, 99);
        assert_eq!(judged.counts()["a"], (2, 6));
        assert_eq!(judged.documents[20..40], [0; 20]);
    }

    #[test]
    fn an_interval_is_that_of_documents_and_not_of_tokens() {
        let documents: Vec<Sequence> = (0..20).map(|i| document(i, "a", 50)).collect();
        let judged = Judged::spread(&documents, 50, 99);
        // All tokens of a document have one value: there are 20 independent ones, and not a thousand.
        let values: Vec<f64> = (0..1000).map(|token| f64::from(token / 50 % 2)).collect();
        let (low, high) = judged.interval(&[&values], |means| means[0]);
        assert!(
            (0.2..0.4).contains(&low) && (0.6..0.8).contains(&high),
            "{low} {high}"
        );
        let (low, high) = judged.interval(&[&values, &values], |means| means[0] / means[1]);
        assert_eq!((low, high), (1.0, 1.0));
    }
}
