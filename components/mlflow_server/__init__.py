"""What Athanor adds to an MLflow server: a registry that keeps its champions and their history.

`mlflow server --app-name athanor --registry-store-uri athanor+sqlite:///...`: both are entry
points of this distribution. It needs nothing but MLflow's own libraries.
"""
