//! Why a write is refused: every fault of every edit, with its place.

use sqlx::postgres::PgDatabaseError;

use super::Applied;
use crate::{
    error::{Conflict, Error, Fault},
    tokens::Role,
};

/// Every fault of every edit, before anything is written.
pub(super) struct Refusal {
    many: bool,
    faults: Vec<(usize, Fault)>,
    conflicts: Vec<Conflict>,
    /// The highest role that an edit needs.
    needed: Role,
}

impl Refusal {
    /// Pointers begin with the edit's index where there are `many`.
    pub fn of(many: bool) -> Self {
        Refusal { many, faults: Vec::new(), conflicts: Vec::new(), needed: Role::Contributor }
    }

    pub fn add(&mut self, edit: usize, faults: Vec<Fault>) {
        self.faults.extend(faults.into_iter().map(|fault| (edit, fault)));
    }

    pub fn clash(&mut self, edit: usize, fault: Fault, conflict: Conflict) {
        self.add(edit, vec![fault]);
        self.conflicts.push(conflict);
    }

    pub fn needs(&mut self, role: Role) {
        self.needed = self.needed.max(role);
    }

    /// Every fault with the number of its edit, for a write that is told otherwise than by an answer.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub fn into_faults(self, has: Role) -> Result<Vec<(usize, Fault)>, Error> {
        if has < self.needed {
            return Err(Error::Forbidden { needed: self.needed, has });
        }
        Ok(self.faults)
    }

    /// # Errors
    /// [`Error::Forbidden`] before all else, then [`Error::Refused`].
    pub fn end(self, has: Role) -> Result<(), Error> {
        if has < self.needed {
            return Err(Error::Forbidden { needed: self.needed, has });
        }
        if self.faults.is_empty() { Ok(()) } else { Err(self.into_error()) }
    }

    fn into_error(mut self) -> Error {
        self.faults.sort_by_key(|(edit, _)| *edit);
        let many = self.many;
        let at_edit = |(edit, mut fault): (usize, Fault)| {
            if many {
                fault.pointer = fault.pointer.map(|pointer| format!("/{edit}{pointer}"));
            }
            fault
        };
        Error::Refused { faults: self.faults.into_iter().map(at_edit).collect(), conflicts: self.conflicts }
    }
}

/// The database's word for a cycle, or for a tree that is too deep, as a fault of the document that makes it so.
pub(super) fn cycle(error: sqlx::Error, applied: &[Option<Applied>]) -> Error {
    let found = error.as_database_error().and_then(|database| database.try_downcast_ref::<PgDatabaseError>());
    let code = found.and_then(PgDatabaseError::constraint).and_then(|name| match name {
        "term_relations_no_cycle" | "categories_no_cycle" => Some("cycle"),
        "categories_depth" => Some("too_deep"),
        _ => None,
    });
    let (Some(found), Some(code)) = (found, code) else { return error.into() };
    let member = found.column().unwrap_or("parent").to_owned();
    let detail = match code {
        "cycle" => format!("The {member} relations lead back to where they began; leave one of them out."),
        _ => "The tree of categories would have more than 20 levels; choose a parent further up.".to_owned(),
    };
    let culprit = found.detail().unwrap_or_default();
    let edit =
        applied.iter().position(|applied| applied.as_ref().is_some_and(|applied| applied.id.to_string() == culprit));
    let mut refusal = Refusal::of(applied.len() > 1);
    refusal.add(edit.unwrap_or(0), vec![Fault::body(format!("/{member}"), code, detail)]);
    refusal.into_error()
}
