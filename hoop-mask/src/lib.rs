//! Finds secrets and personal data in bytes and masks them.
