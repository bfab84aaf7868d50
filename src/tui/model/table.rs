//! A list on the screen: what is shown of it, in which order, and where the cursor is.
//!
//! The cursor belongs to an object, not to a row number, so it stays on its object while the list changes around it.
//! Rows are worked out when items, filter or order change; drawing then looks only at the rows in view.

use crate::tui::fuzzy::Filter;
use std::cmp::Ordering;
use std::collections::BTreeSet;

/// What a list needs to know of its items.
pub trait Item {
    /// Identifies it for as long as it lives.
    fn key(&self) -> &str;
    /// What a person calls it.
    fn title(&self) -> &str;
    /// The text a filter looks at.
    fn haystack(&self) -> String;
    /// The group it is listed under.
    fn group(&self) -> Option<&str> {
        None
    }
    /// Whether it is listed when idle objects are hidden.
    fn is_active(&self) -> bool {
        true
    }
}

/// One way to order a list.
pub struct Order<T> {
    pub name: &'static str,
    pub compare: fn(&T, &T) -> Ordering,
}

/// One row of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    Group { name: String, active: usize, total: usize, is_folded: bool },
    Item(usize),
}

/// A list with its cursor, filter, order and marks.
pub struct Table<T: 'static> {
    items: Vec<T>,
    rows: Vec<Row>,
    cursor: usize,
    /// First row in view.
    pub offset: usize,
    /// Rows in view, from the layout.
    pub height: usize,
    filter: String,
    orders: &'static [Order<T>],
    order: usize,
    is_reversed: bool,
    folded: BTreeSet<String>,
    marks: BTreeSet<String>,
    hides_idle: bool,
    /// False until the engine answered once: an empty list then means "not known yet".
    pub is_loaded: bool,
}

impl<T: Item> Table<T> {
    /// An empty list, ordered by the first of `orders`.
    pub fn new(orders: &'static [Order<T>]) -> Table<T> {
        Table {
            items: Vec::new(),
            rows: Vec::new(),
            cursor: 0,
            offset: 0,
            height: 0,
            filter: String::new(),
            orders,
            order: 0,
            is_reversed: false,
            folded: BTreeSet::new(),
            marks: BTreeSet::new(),
            hides_idle: false,
            is_loaded: false,
        }
    }

    pub fn items(&self) -> &[T] {
        &self.items
    }

    /// The items, to be changed in ways that [`Table::arrange`] is told of afterwards if order or filter may differ.
    pub fn items_mut(&mut self) -> &mut [T] {
        &mut self.items
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub fn cursor(&self) -> usize {
        self.cursor
    }

    pub fn get(&self, key: &str) -> Option<&T> {
        self.items.iter().find(|item| item.key() == key)
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut T> {
        self.items.iter_mut().find(|item| item.key() == key)
    }

    /// The item of a row.
    pub fn item(&self, row: &Row) -> Option<&T> {
        match row {
            Row::Item(index) => self.items.get(*index),
            Row::Group { .. } => None,
        }
    }

    pub fn selected_row(&self) -> Option<&Row> {
        self.rows.get(self.cursor)
    }

    /// The item under the cursor.
    pub fn selected(&self) -> Option<&T> {
        self.selected_row().and_then(|row| self.item(row))
    }

    /// The group under the cursor.
    pub fn selected_group(&self) -> Option<&str> {
        match self.selected_row() {
            Some(Row::Group { name, .. }) => Some(name),
            _ => None,
        }
    }

    /// Replaces all items.
    pub fn set(&mut self, items: Vec<T>) {
        let held = self.held();
        self.items = items;
        self.is_loaded = true;
        let known: BTreeSet<&str> = self.items.iter().map(Item::key).collect();
        self.marks.retain(|mark| known.contains(mark.as_str()));
        self.rebuild(held);
    }

    /// Puts in or replaces one item.
    pub fn put(&mut self, item: T) {
        let held = self.held();
        match self.items.iter_mut().find(|old| old.key() == item.key()) {
            Some(old) => *old = item,
            None => self.items.push(item),
        }
        self.rebuild(held);
    }

    /// Takes one item out.
    pub fn remove(&mut self, key: &str) {
        let held = self.held();
        self.items.retain(|item| item.key() != key);
        self.marks.remove(key);
        self.rebuild(held);
    }

    /// Works the rows out anew; the cursor stays on its object, or else on its place.
    pub fn arrange(&mut self) {
        let held = self.held();
        self.rebuild(held);
    }

    fn held(&self) -> Option<(bool, String)> {
        self.selected_row().map(|row| self.row_key(row))
    }

    fn rebuild(&mut self, held: Option<(bool, String)>) {
        let mut filter = Filter::new(&self.filter);
        let mut shown: Vec<usize> = (0..self.items.len())
            .filter(|i| !self.hides_idle || self.items[*i].is_active())
            .filter(|i| filter.score(&self.items[*i].haystack()).is_some())
            .collect();
        if let Some(order) = self.orders.get(self.order) {
            shown.sort_by(|a, b| {
                let ordering = (order.compare)(&self.items[*a], &self.items[*b]);
                let ordering = if self.is_reversed { ordering.reverse() } else { ordering };
                ordering.then_with(|| self.items[*a].title().cmp(self.items[*b].title()))
            });
        }
        let groups: BTreeSet<String> = shown.iter().filter_map(|i| self.items[*i].group()).map(str::to_owned).collect();
        let mut rows = Vec::with_capacity(shown.len() + groups.len());
        for name in groups {
            let members: Vec<usize> =
                shown.iter().copied().filter(|i| self.items[*i].group() == Some(name.as_str())).collect();
            let active = members.iter().filter(|i| self.items[**i].is_active()).count();
            let is_folded = self.folded.contains(&name) && self.filter.is_empty();
            rows.push(Row::Group { name, active, total: members.len(), is_folded });
            if !is_folded {
                rows.extend(members.into_iter().map(Row::Item));
            }
        }
        rows.extend(shown.into_iter().filter(|i| self.items[*i].group().is_none()).map(Row::Item));
        self.rows = rows;
        if let Some(held) = held
            && let Some(at) = self.rows.iter().position(|row| self.row_key(row) == held)
        {
            self.cursor = at;
        }
        self.settle();
    }

    fn row_key(&self, row: &Row) -> (bool, String) {
        match row {
            Row::Group { name, .. } => (true, name.clone()),
            Row::Item(index) => (false, self.items.get(*index).map(|item| item.key().to_owned()).unwrap_or_default()),
        }
    }

    /// Keeps cursor and offset inside the list, and the cursor in view.
    pub fn settle(&mut self) {
        self.cursor = self.cursor.min(self.rows.len().saturating_sub(1));
        let height = self.height.max(1);
        if self.cursor < self.offset {
            self.offset = self.cursor;
        }
        if self.cursor >= self.offset + height {
            self.offset = self.cursor + 1 - height;
        }
        self.offset = self.offset.min(self.rows.len().saturating_sub(height));
    }

    /// Moves the cursor by rows.
    pub fn step(&mut self, by: isize) {
        self.cursor = self.cursor.saturating_add_signed(by);
        self.settle();
    }

    /// Puts the cursor on a row.
    pub fn jump(&mut self, to: usize) {
        self.cursor = to;
        self.settle();
    }

    /// Puts the cursor on an object, if it is listed.
    pub fn select(&mut self, key: &str) -> bool {
        let at = self.rows.iter().position(|row| self.item(row).is_some_and(|item| item.key() == key));
        if let Some(at) = at {
            self.jump(at);
        }
        at.is_some()
    }

    /// Scrolls without moving the cursor further than it must.
    pub fn scroll(&mut self, by: isize) {
        let height = self.height.max(1);
        let last = self.rows.len().saturating_sub(height);
        self.offset = self.offset.saturating_add_signed(by).min(last);
        self.cursor = self.cursor.clamp(self.offset, self.offset + height - 1).min(self.rows.len().saturating_sub(1));
    }

    /// Rows in view, each with its number.
    pub fn in_view(&self) -> impl Iterator<Item = (usize, &Row)> {
        self.rows.iter().enumerate().skip(self.offset).take(self.height)
    }

    pub fn filter(&self) -> &str {
        &self.filter
    }

    pub fn set_filter(&mut self, filter: String) {
        self.filter = filter;
        self.arrange();
    }

    /// Names of the orders.
    pub fn orders(&self) -> Vec<&'static str> {
        self.orders.iter().map(|order| order.name).collect()
    }

    /// The order in use, and whether it is reversed.
    pub fn order(&self) -> (usize, bool) {
        (self.order, self.is_reversed)
    }

    /// Orders by the `n`th order; the one in use is turned around.
    pub fn order_by(&mut self, n: usize) {
        self.is_reversed = n == self.order && !self.is_reversed;
        self.order = n;
        self.arrange();
    }

    /// Folds or unfolds a group.
    pub fn toggle_fold(&mut self, group: &str) {
        if !self.folded.remove(group) {
            self.folded.insert(group.to_owned());
        }
        self.arrange();
    }

    pub fn hides_idle(&self) -> bool {
        self.hides_idle
    }

    pub fn toggle_idle(&mut self) {
        self.hides_idle = !self.hides_idle;
        self.arrange();
    }

    pub fn marks(&self) -> &BTreeSet<String> {
        &self.marks
    }

    /// Marks or unmarks the row under the cursor (a group: all of it) and steps on.
    pub fn toggle_mark(&mut self) {
        let keys: Vec<String> = match self.selected_row() {
            Some(Row::Item(index)) => self.items.get(*index).map(|item| item.key().to_owned()).into_iter().collect(),
            Some(Row::Group { name, .. }) => self.members(name).into_iter().map(|item| item.key().to_owned()).collect(),
            None => Vec::new(),
        };
        let is_marked = keys.iter().all(|key| self.marks.contains(key));
        for key in keys {
            if is_marked {
                self.marks.remove(&key);
            } else {
                self.marks.insert(key);
            }
        }
        self.step(1);
    }

    /// Marks all rows that the filter lets through; all marked: none.
    pub fn toggle_all_marks(&mut self) {
        let all: BTreeSet<String> =
            self.rows.iter().filter_map(|row| self.item(row)).map(|item| item.key().to_owned()).collect();
        self.marks = if all.is_subset(&self.marks) { BTreeSet::new() } else { all };
    }

    pub fn clear_marks(&mut self) {
        self.marks.clear();
    }

    /// The items of a group.
    pub fn members(&self, group: &str) -> Vec<&T> {
        self.items.iter().filter(|item| item.group() == Some(group)).collect()
    }

    /// What an action applies to: the marked items; else the group under the cursor; else the item under it.
    pub fn targets(&self) -> Vec<&T> {
        if !self.marks.is_empty() {
            return self.items.iter().filter(|item| self.marks.contains(item.key())).collect();
        }
        match self.selected_row() {
            Some(Row::Group { name, .. }) => self.members(name),
            Some(row) => self.item(row).into_iter().collect(),
            None => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Thing(&'static str, Option<&'static str>, bool);
    impl Item for Thing {
        fn key(&self) -> &str {
            self.0
        }
        fn title(&self) -> &str {
            self.0
        }
        fn haystack(&self) -> String {
            self.0.to_owned()
        }
        fn group(&self) -> Option<&str> {
            self.1
        }
        fn is_active(&self) -> bool {
            self.2
        }
    }
    const ORDERS: &[Order<Thing>] = &[Order { name: "name", compare: |a, b| a.0.cmp(b.0) }];

    fn table() -> Table<Thing> {
        let mut table = Table::new(ORDERS);
        table.height = 3;
        table.set(vec![Thing("solo", None, true), Thing("web", Some("shop"), true), Thing("api", Some("shop"), false)]);
        table
    }

    fn shown(table: &Table<Thing>) -> Vec<String> {
        table
            .rows()
            .iter()
            .map(|row| match row {
                Row::Group { name, active, total, .. } => format!("{name} {active}/{total}"),
                Row::Item(i) => table.items()[*i].0.to_owned(),
            })
            .collect()
    }

    #[test]
    fn groups_come_first_and_count_their_running_members() {
        assert_eq!(shown(&table()), ["shop 1/2", "api", "web", "solo"]);
    }

    #[test]
    fn the_cursor_stays_on_its_object() {
        let mut table = table();
        assert!(table.select("web"));
        table.put(Thing("aaa", Some("shop"), true));
        assert_eq!(table.selected().unwrap().0, "web");
        table.remove("web");
        assert_eq!(table.cursor(), 3, "its place, when the object is gone");
    }

    #[test]
    fn folding_filtering_and_hiding() {
        let mut table = table();
        table.toggle_fold("shop");
        assert_eq!(shown(&table), ["shop 1/2", "solo"]);
        table.set_filter("web".into());
        assert_eq!(shown(&table), ["shop 1/1", "web"], "a filter looks into folded groups");
        table.set_filter(String::new());
        table.toggle_fold("shop");
        table.toggle_idle();
        assert_eq!(shown(&table), ["shop 1/1", "web", "solo"]);
    }

    #[test]
    fn an_action_takes_marks_then_group_then_row() {
        let mut table = table();
        let names = |table: &Table<Thing>| table.targets().iter().map(|t| t.0).collect::<Vec<_>>();
        assert_eq!(names(&table), ["web", "api"], "the group under the cursor");
        table.select("solo");
        assert_eq!(names(&table), ["solo"]);
        table.select("api");
        table.toggle_mark();
        assert_eq!(table.selected().unwrap().0, "web", "marking steps on");
        assert_eq!(names(&table), ["api"]);
    }

    #[test]
    fn the_view_follows_the_cursor() {
        let mut table = table();
        table.jump(3);
        assert_eq!(table.offset, 1);
        table.scroll(-1);
        assert_eq!((table.offset, table.cursor()), (0, 2));
    }
}
