"""Numbers and all that is made of them: amounts, measures, money, dates and times."""
