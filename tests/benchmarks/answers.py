"""Answers to measure with: Markdown as models write it, of any length."""

from __future__ import annotations

PAGE = r"""## What the numbers say

The **mean** of `temperature` is 9.1 and its spread is what a year at this latitude has; nothing there looks like a
broken sensor. Two things do, though, and both are easy to miss in a plot.

- `rain_mm` is missing on 12 days, spread over the year
- `wind_m_s` is missing for one whole week
- no value is repeated more often than chance would have it

```python
missing = weather.isna().sum()
week = weather["wind_m_s"].isna().groupby(pd.Grouper(freq="W")).sum()
print(missing, week[week > 0], sep="\n")
```

| column | missing | first | last |
|---|---:|---|---|
| rain_mm | 12 | 14 January | 2 December |
| wind_m_s | 7 | 3 August | 9 August |

With $n = 365$ and a spread of $\sigma \approx 7.4$, the standard error of the mean is about
$\sigma / \sqrt{n} \approx 0.39$, so the difference to the long-term mean is *not* remarkable.

"""


def answer_of(characters: int) -> str:
    """Return a Markdown answer of exactly so many characters, no code in it twice."""
    pages = range(characters // len(PAGE) + 1)
    return "".join(PAGE.replace("weather", f"weather_{page}") for page in pages)[:characters]
