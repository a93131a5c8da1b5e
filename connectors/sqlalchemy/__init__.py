"""Every other database that SQLAlchemy has a dialect for, as a warehouse."""
