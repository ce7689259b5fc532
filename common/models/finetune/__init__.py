"""Public torchvision networks as frozen fronts: `finetune:resnet18` and its like."""
