//! Container names: Docker's rule for given ones, and invented ones for the rest.

use crate::engine::EngineError;

/// Checks a given name and takes a leading slash off.
///
/// # Errors
/// Docker's refusal of any name but `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
pub fn valid_name(name: &str) -> Result<&str, EngineError> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let mut bytes = bare.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = bare.len() > 1 && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if first && rest {
        return Ok(bare);
    }
    Err(EngineError::invalid(format!("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")))
}

/// Docker's refusal of a name that another container has.
pub fn name_in_use(name: &str, holder: &str) -> EngineError {
    EngineError::conflict(format!(
        "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". You have to remove (or \
         rename) that container to be able to reuse that name."
    ))
}

/// An `adjective_surname` made of `seed`; from the second `attempt` on with a digit behind it, so that it ends.
pub fn invented_name(seed: u64, attempt: u32) -> String {
    let pick = |list: &[&'static str], number: u64| {
        usize::try_from(number % list.len() as u64).ok().and_then(|at| list.get(at).copied()).unwrap_or("quiet")
    };
    let (adjective, surname) = (pick(ADJECTIVES, seed), pick(SURNAMES, seed / ADJECTIVES.len() as u64));
    if attempt == 0 { format!("{adjective}_{surname}") } else { format!("{adjective}_{surname}{}", seed >> 40 & 0xfff) }
}

const ADJECTIVES: &[&str] = &[
    "agile", "airy", "amber", "ample", "arctic", "astute", "azure", "balmy", "blithe", "bold", "brave", "breezy",
    "bright", "brisk", "calm", "candid", "cheery", "civil", "clear", "clever", "cosy", "crisp", "curious", "dapper",
    "daring", "deft", "eager", "earnest", "easy", "epic", "fair", "fast", "fearless", "fine", "fleet", "fluent",
    "fond", "frank", "free", "fresh", "gentle", "giddy", "glad", "golden", "grand", "hardy", "hearty", "honest",
    "humble", "ideal", "jolly", "jovial", "keen", "kind", "lively", "lucid", "lucky", "lunar", "mellow", "merry",
    "mighty", "mild", "neat", "nimble", "noble", "patient", "plucky", "polite", "prime", "proud", "quick", "quiet",
    "rapid", "ready", "robust", "rosy", "serene", "sharp", "silent", "smooth", "snug", "solar", "sound", "spry",
    "stable", "steady", "sunny", "sure", "swift", "tidy", "tranquil", "true", "upbeat", "vivid", "warm", "wise",
    "witty", "young", "zesty",
];

const SURNAMES: &[&str] = &[
    "abel",
    "alferov",
    "ampere",
    "anning",
    "avogadro",
    "babbage",
    "banach",
    "bardeen",
    "becquerel",
    "bell",
    "bernoulli",
    "bessel",
    "bohr",
    "boole",
    "borel",
    "born",
    "bose",
    "boyle",
    "brahe",
    "cantor",
    "carnot",
    "carson",
    "cauchy",
    "cavendish",
    "celsius",
    "chandra",
    "church",
    "clifford",
    "colden",
    "compton",
    "copernicus",
    "coulomb",
    "cray",
    "curie",
    "dalton",
    "darwin",
    "debye",
    "dedekind",
    "descartes",
    "diophantus",
    "dirac",
    "doppler",
    "edison",
    "ehrlich",
    "einstein",
    "engelbart",
    "erdos",
    "euclid",
    "euler",
    "faraday",
    "fermat",
    "fermi",
    "feynman",
    "fisher",
    "fleming",
    "fourier",
    "franklin",
    "fresnel",
    "galileo",
    "galois",
    "gauss",
    "germain",
    "gibbs",
    "godel",
    "goodall",
    "haber",
    "halley",
    "hamilton",
    "hamming",
    "heaviside",
    "heisenberg",
    "hertz",
    "hilbert",
    "hodgkin",
    "hooke",
    "hopper",
    "hubble",
    "humboldt",
    "huygens",
    "hypatia",
    "jacobi",
    "jemison",
    "joule",
    "kelvin",
    "kepler",
    "khayyam",
    "knuth",
    "kovalevskaya",
    "lagrange",
    "lamarr",
    "landau",
    "laplace",
    "lavoisier",
    "leavitt",
    "leibniz",
    "linnaeus",
    "lovelace",
    "mach",
    "maxwell",
    "mayer",
    "meitner",
    "mendel",
    "mendeleev",
    "mirzakhani",
    "napier",
    "nash",
    "newton",
    "nightingale",
    "nobel",
    "noether",
    "ohm",
    "pascal",
    "pasteur",
    "pauli",
    "pauling",
    "peano",
    "planck",
    "poincare",
    "ptolemy",
    "raman",
    "ramanujan",
    "ride",
    "riemann",
    "rubin",
    "rutherford",
    "sagan",
    "salam",
    "sanger",
    "shannon",
    "snell",
    "stokes",
    "tesla",
    "thales",
    "torvalds",
    "turing",
    "viete",
    "volta",
    "wallis",
    "watt",
    "weyl",
    "wiles",
    "wu",
    "yonath",
    "young",
    "yukawa",
    "zeeman",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_rule_for_names() {
        for good in ["web", "/web", "a1", "my_app.v2-x", "0a"] {
            assert!(valid_name(good).is_ok(), "{good}");
        }
        for bad in ["", "/", "a", "-a", "a b", "a/b", "ä1", ".web"] {
            let refusal = valid_name(bad).unwrap_err();
            assert!(refusal.message().starts_with(&format!("Invalid container name ({bad})")), "{refusal}");
        }
    }

    #[test]
    fn invented_names_obey_the_rule_and_differ() {
        let names: std::collections::HashSet<_> = (0..500_u64).map(|n| invented_name(n * 7919, 0)).collect();
        assert!(names.len() > 450);
        assert!(names.iter().all(|name| valid_name(name).is_ok()));
        assert_ne!(invented_name(1 << 50 | 5, 0), invented_name(1 << 50 | 5, 1));
    }
}
