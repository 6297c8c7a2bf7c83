//! Word times: the cheapest monotonic path through the decoder's attention to the sound (dynamic time warping).

/// The attention of all heads as one cost for each token and each step of sound.
pub(super) struct Cost {
    tokens: usize,
    steps: usize,
    cost: Vec<f32>,
}

impl Cost {
    pub(super) fn new(tokens: usize, steps: usize) -> Cost {
        Cost { tokens, steps, cost: vec![0.0; tokens * steps] }
    }

    pub(super) fn steps(&self) -> usize {
        self.steps
    }

    /// Adds one head, normalised at each step over the tokens: a head that looks everywhere says nothing.
    pub(super) fn add(&mut self, head: &[f32]) {
        let n = self.tokens as f32;
        for t in 0..self.steps {
            let column = || (0..self.tokens).map(|i| head[i * self.steps + t]);
            let mean = column().sum::<f32>() / n;
            let deviation = (column().map(|x| (x - mean).powi(2)).sum::<f32>() / n).sqrt() + 1e-6;
            for (i, x) in column().enumerate() {
                self.cost[i * self.steps + t] -= (x - mean) / deviation;
            }
        }
    }

    /// The first and the last step of each token.
    pub(super) fn path(&self) -> Vec<(usize, usize)> {
        let (n, m) = (self.tokens, self.steps);
        let at = |i: usize, j: usize| i * (m + 1) + j;
        let mut total = vec![f32::INFINITY; (n + 1) * (m + 1)];
        let mut from = vec![0_u8; total.len()];
        total[0] = 0.0;
        for i in 1..=n {
            for j in 1..=m {
                let options = [total[at(i - 1, j - 1)], total[at(i - 1, j)], total[at(i, j - 1)]];
                let best = (0..3).min_by(|a, b| options[*a].total_cmp(&options[*b])).unwrap_or(0);
                total[at(i, j)] = self.cost[(i - 1) * m + j - 1] + options[best];
                from[at(i, j)] = best as u8;
            }
        }
        let mut spans = vec![(usize::MAX, 0); n];
        let (mut i, mut j) = (n, m);
        while i > 0 && j > 0 {
            let span = &mut spans[i - 1];
            *span = (span.0.min(j - 1), span.1.max(j - 1));
            (i, j) = match from[at(i, j)] {
                0 => (i - 1, j - 1),
                1 => (i - 1, j),
                _ => (i, j - 1),
            };
        }
        spans.into_iter().map(|(a, b)| (a.min(b), b)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_follows_the_attention() {
        // Three tokens that look at steps 0-1, 2-4 and 5.
        let mut head = vec![0.0; 18];
        for (token, step) in [(0, 0), (0, 1), (1, 2), (1, 3), (1, 4), (2, 5)] {
            head[token * 6 + step] = 1.0;
        }
        let mut cost = Cost::new(3, 6);
        cost.add(&head);
        assert_eq!(cost.path(), [(0, 1), (2, 4), (5, 5)]);
    }
}
