//! Text that compresses as prose does: sentences of common and of rare words, in paragraphs, with headings, lists and links.

use crate::stage::Random;

/// How many different ones there are.
pub const COUNT: usize = 256;
/// What stands for the term's own name.
pub const NAME: &str = "TERM-NAME";

const BODY_BYTES: usize = 1_900;

const WORDS: &str = "the of a to and in is that it for with as model which by from data on or are at this an be training can \
    more than one each its between when other layer network weights language input output tokens token attention learning \
    gradient parameters sequence representation inference dataset architecture probability function objective embedding \
    optimizer sampling distribution supervised reward policy agent context window prompt evaluation benchmark error loss \
    noise signal vector matrix dimension scale batch epoch regularisation generalisation overfitting hallucination \
    alignment preference feedback retrieval document query index latency throughput memory cache accelerator precision \
    quantisation distillation pruning sparsity mixture expert routing decoder encoder transformer diffusion latent \
    adversarial robust interpretability circuit feature neuron activation residual normalisation convolution recurrent \
    temporal spatial multimodal vision speech translation summarisation reasoning planning tool memory safety audit \
    governance transparency provenance watermark synthetic annotation crowd label taxonomy ontology semantic syntactic \
    morphology corpus crawl filter deduplication contamination leakage calibration uncertainty ensemble bootstrap variance \
    bias estimator likelihood posterior prior variational markov monte carlo stochastic deterministic convex saddle \
    curvature momentum schedule warmup decay checkpoint fine-tuning adapter low-rank instruction chain thought scratchpad \
    self-consistency verifier curriculum transfer zero-shot few-shot in-context emergent scaling law compute budget";

pub struct Texts {
    words: Vec<&'static str>,
    random: Random,
}

impl Texts {
    pub fn new() -> Self {
        Texts { words: WORDS.split_whitespace().collect(), random: Random(0x9e37_79b9) }
    }

    /// One or two sentences.
    pub fn definition(&mut self) -> String {
        let count = 1 + self.random.below(2);
        self.sentences(count)
    }

    /// About two kilobytes of Markdown.
    pub fn body(&mut self) -> String {
        let mut body = format!("**{NAME}** stands for what follows. {}", self.sentences(2));
        while body.len() < BODY_BYTES {
            let part = match self.random.below(6) {
                0 => format!("## {}", self.sentence(3)),
                1 => {
                    let items: Vec<String> = (0..3).map(|_| format!("- {}", self.sentence(8))).collect();
                    items.join("\n")
                }
                2 => {
                    let (before, after) = (self.sentence(9), self.sentence(10));
                    format!("{before} See [*{}*](https://example.org/{}). {after}", self.word(), self.word())
                }
                _ => self.sentences(3),
            };
            body.push_str("\n\n");
            body.push_str(&part);
        }
        body
    }

    fn sentences(&mut self, count: usize) -> String {
        let sentences: Vec<String> = (0..count).map(|_| self.sentence(12)).collect();
        sentences.join(" ")
    }

    fn sentence(&mut self, words: usize) -> String {
        let count = words + self.random.below(words);
        let words: Vec<&str> = (0..count).map(|_| self.word()).collect();
        let text = words.join(" ");
        let mut letters = text.chars();
        let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
        format!("{first}{}.", letters.as_str())
    }

    /// Those that stand first come most often.
    fn word(&mut self) -> &'static str {
        let bound = 1 + self.random.below(self.words.len());
        let place = self.random.below(bound);
        self.words.get(place).copied().unwrap_or_default()
    }
}
