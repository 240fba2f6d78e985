from tests.support.process import ROOT, python, start  # noqa: F401
