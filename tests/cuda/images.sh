#!/ bin / bash
echo placeholder
