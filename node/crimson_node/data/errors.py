"""The one error for unusable data: where it is and what to do, never the value found there."""


class DataFault(Exception):
    """A file or a column cannot be used.

    `message` says what is wrong and `hint` what to do. `site`, `column` and `row` (1-based line in the
    file, header included) say where, as far as it is known. Cell values are patients' data and appear in
    none of them.
    """

    def __init__(
        self,
        message: str,
        hint: str,
        *,
        site: str | None = None,
        column: str | None = None,
        row: int | None = None,
    ) -> None:
        # Only what __init__ needs by position goes into args, so that the fault survives pickling.
        super().__init__(message, hint)
        self.message = message
        self.hint = hint
        self.site = site
        self.column = column
        self.row = row

    def __str__(self) -> str:
        return f"{self.text} ({self.hint})"

    @property
    def text(self) -> str:
        """Place and message, without the hint."""
        places = [
            f"site {self.site}" if self.site is not None else "",
            f"column {self.column}" if self.column is not None else "",
            f"line {self.row}" if self.row is not None else "",
        ]
        where = ", ".join(place for place in places if place)
        return f"{where + ': ' if where else ''}{self.message}"
