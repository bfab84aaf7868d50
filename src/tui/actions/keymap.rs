//! Which key does what: the table's defaults, changed by the user's configuration.

use super::{Action, Scope, all};
use crate::tui::keys::Key;
use std::collections::{BTreeMap, HashMap};

/// Keys by scope.
pub struct Keymap {
    bindings: HashMap<(Scope, Key), &'static Action>,
    keys: HashMap<&'static str, Vec<Key>>,
}

impl Keymap {
    /// The defaults with `changes` laid over: action name to its keys (none: unbound).
    ///
    /// # Errors
    /// An unknown action, an unreadable key, or a key that would mean two things in one scope.
    pub fn new(changes: &BTreeMap<String, Vec<String>>) -> Result<Keymap, String> {
        if let Some(name) = changes.keys().find(|name| super::find(name).is_none()) {
            return Err(format!("keys: there is no action {name:?}; `:` lists them all"));
        }
        let mut keymap = Keymap { bindings: HashMap::new(), keys: HashMap::new() };
        for action in all() {
            let keys = match changes.get(action.name) {
                Some(keys) => keys.iter().map(|key| Key::parse(key)).collect::<Result<Vec<_>, _>>(),
                None => action.keys.iter().map(|key| Key::parse(key)).collect(),
            };
            let keys = keys.map_err(|why| format!("keys: {}: {why}", action.name))?;
            keymap.keys.insert(action.name, keys.clone());
            for key in keys {
                if let Some(other) = keymap.bindings.insert((action.scope, key), action) {
                    // A changed key takes over from an unchanged default; two changed ones clash.
                    match (changes.contains_key(action.name), changes.contains_key(other.name)) {
                        (true, true) | (false, false) => {
                            return Err(format!("keys: {key} is given to both {} and {}", other.name, action.name));
                        }
                        (false, true) => {
                            keymap.bindings.insert((action.scope, key), other);
                            keymap.unbind(action.name, key);
                        }
                        (true, false) => keymap.unbind(other.name, key),
                    }
                }
            }
        }
        Ok(keymap)
    }

    fn unbind(&mut self, name: &str, key: Key) {
        if let Some(keys) = self.keys.get_mut(name) {
            keys.retain(|k| *k != key);
        }
    }

    /// The action of a key in the first of `scopes` that knows it.
    pub fn action(&self, scopes: &[Scope], key: Key) -> Option<&'static Action> {
        scopes.iter().find_map(|scope| self.bindings.get(&(*scope, key)).copied())
    }

    /// The keys of an action.
    pub fn keys(&self, name: &str) -> &[Key] {
        self.keys.get(name).map_or(&[], Vec::as_slice)
    }

    /// The key shown for an action, if it has one.
    pub fn shown(&self, name: &str) -> Option<String> {
        self.keys(name).first().map(Key::to_string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remapped_key_takes_over() {
        let changes = BTreeMap::from([("container.stop".to_owned(), vec!["r".to_owned()])]);
        let keymap = Keymap::new(&changes).unwrap();
        let action = keymap.action(&[Scope::Containers], Key::char('r')).unwrap();
        assert_eq!(action.name, "container.stop");
        assert!(keymap.keys("container.restart").is_empty());
    }

    #[test]
    fn mistakes_are_named() {
        let wrong = |name: &str, key: &str| {
            Keymap::new(&BTreeMap::from([(name.to_owned(), vec![key.to_owned()])])).err().unwrap()
        };
        assert!(wrong("container.fly", "f").contains("container.fly"));
        assert!(wrong("container.stop", "hyper-q").contains("hyper-q"));
    }
}
