"""COVID-19 Radiography Database."""

from spurious.readers.covid_radiography.covid_radiography import CovidRadiography as Reader

__all__ = ["Reader"]
