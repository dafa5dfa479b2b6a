//! Side tables: what an analysis knows of every unit, or of every group of units, by their ids.

use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

use super::{Group, GroupId, Unit, UnitId, Units};

/// An id of something that a graph numbers.
pub trait Id: Copy {
    /// Its position in a table.
    fn position(self) -> usize;
    /// The id of a position.
    fn at(position: usize) -> Self;
}

impl Id for UnitId {
    fn position(self) -> usize {
        self.index()
    }

    fn at(position: usize) -> Self {
        Self::from_index(position)
    }
}

impl Id for GroupId {
    fn position(self) -> usize {
        self.index()
    }

    fn at(position: usize) -> Self {
        Self::from_index(position)
    }
}

/// A value for every id of one graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table<I, T> {
    values: Vec<T>,
    ids: PhantomData<I>,
}

/// A value for every unit, in evaluation order.
pub type UnitMap<T> = Table<UnitId, T>;

/// A value for every group, in the order of their first units.
pub type GroupMap<T> = Table<GroupId, T>;

impl<T> UnitMap<T> {
    /// A value of each unit.
    #[must_use]
    pub fn of(units: &Units, value: impl FnMut(&Unit) -> T) -> Self {
        units.iter().map(value).collect()
    }
}

impl<T: Clone> UnitMap<T> {
    /// The same value for every unit.
    #[must_use]
    pub fn all(units: &Units, value: T) -> Self {
        Self::of(units, |_| value.clone())
    }
}

impl<T> GroupMap<T> {
    /// A value of each group.
    #[must_use]
    pub fn of(units: &Units, value: impl FnMut(&Group) -> T) -> Self {
        units.groups().iter().map(value).collect()
    }
}

impl<I: Id, T> Table<I, T> {
    /// Values with their ids, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (I, &T)> {
        let numbered = self.values.iter().enumerate();
        numbered.map(|(position, value)| (I::at(position), value))
    }

    /// Values in order.
    pub fn values(&self) -> std::slice::Iter<'_, T> {
        self.values.iter()
    }

    /// Values in order, to be changed.
    pub fn values_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.values.iter_mut()
    }
}

impl<I: Id, T> Index<I> for Table<I, T> {
    type Output = T;

    /// # Panics
    /// When the id is of another graph with more of its kind.
    fn index(&self, id: I) -> &T {
        &self.values[id.position()]
    }
}

impl<I: Id, T> IndexMut<I> for Table<I, T> {
    fn index_mut(&mut self, id: I) -> &mut T {
        &mut self.values[id.position()]
    }
}

impl<I, T> FromIterator<T> for Table<I, T> {
    /// From a value for each id, in order.
    fn from_iter<V: IntoIterator<Item = T>>(values: V) -> Self {
        Self {
            values: values.into_iter().collect(),
            ids: PhantomData,
        }
    }
}
